"""The folder of the data: on a disk that keeps what it promises, and closed to everybody but owner and group."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from flagsmith_warehouse.loader import LoaderError

NETWORK = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "afs",
    "ceph",
    "glusterfs",
    "lustre",
    "fuse.sshfs",
    "fuse.glusterfs",
}

# What we make names people. Others get nothing; the group reads (deploy/README.md); keys and secrets are the owner's.
FOLDER_MODE, FILE_MODE, SECRET_MODE = 0o750, 0o640, 0o600
CLOSED = 0o777 & ~FOLDER_MODE
# What we make in the folder of the data. The folder may hold files of other people, which we leave alone.
OURS = (
    "inbox",
    "warehouse.*",
    "published.*",
    "refresh.*",
    "erasures.*",
    "object-storage.*",
    "privacy*",
    "alerts*",
    "dbt",
    "demo",
    "reports",
    "parquet",
)


class NetworkFilesystem(LoaderError):
    """The warehouse folder is where neither the inbox nor DuckDB would be safe."""


def refuse_network(folder: Path, mounts: Path = Path("/proc/mounts")) -> None:
    """Raise NetworkFilesystem if `folder` is on another machine's disk. Knows where the system says (Linux)."""
    if mounts.exists() and (kind := _type_of(folder, mounts)) in NETWORK:
        raise NetworkFilesystem(
            f"{folder} is on a network file system ({kind}), which loses what SQLite and DuckDB have promised to "
            "keep. Set FLAGSMITH_WAREHOUSE_DIR to a folder on a disk of this machine."
        )


def _type_of(folder: Path, mounts: Path) -> str:
    """The type of the file system that the folder is, or will be, on: that of the deepest mount above it."""
    above = ["/", *(str(path) for path in reversed([folder.resolve(), *folder.resolve().parents]))]
    lines = [line.split() for line in mounts.read_text("utf-8", "surrogateescape").splitlines()]
    types = {place.replace("\\040", " "): kind for _, place, kind, *_ in lines}
    return [types[place] for place in above if place in types][-1]


def sync(path: Path) -> None:
    """Return when the disk has the file, or of a folder the names in it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def keep_private() -> None:
    """From here on others cannot read what this process makes, nor its group write it. A stricter umask stays."""
    os.umask(os.umask(CLOSED) | CLOSED)


def make_folder(folder: Path) -> None:
    """Make the folder, and those above it that are missing. Closed to others under any umask."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)


def open_file(path: Path, flags: int = 0) -> int:
    """A descriptor to read and write the file, made if need be. Closed to others under any umask."""
    return os.open(path, os.O_CREAT | os.O_RDWR | flags, FILE_MODE)


def mend(folder: Path) -> None:
    """Close to others what is open to them, from an earlier release, say. `doctor` names what is not ours to change."""
    for path in open_to_others(folder):
        close_to_others(path)


def close_to_others(path: Path) -> None:
    """Take from others every right to the file or folder, and from the group the right to write."""
    with contextlib.suppress(OSError):
        path.chmod(path.stat().st_mode & 0o7777 & ~_excess(path))


def open_to_others(folder: Path) -> Iterator[Path]:
    """The folder of the data and what we make in it, as far as others may read it or the group write it.

    The folder itself only if it holds nothing but ours: nobody else loses access to files of their own.
    """
    with contextlib.suppress(OSError):
        entries = [path for path in folder.iterdir() if path.name[0] != "."]
        ours = [path for path in entries if any(map(path.match, OURS))]
        if len(ours) == len(entries) and is_open(folder):
            yield folder
        for path in ours:
            yield from filter(is_open, (path, *_below(path)))


def is_open(path: Path) -> bool:
    """True if others may read, write or enter it, or its group write it. A shared folder such as /tmp is nobody's."""
    try:
        mode = path.stat().st_mode
    except OSError:  # gone meanwhile
        return False
    return bool(mode & _excess(path)) and not mode & 0o1000


def _excess(path: Path) -> int:
    """The rights that nobody is to have."""
    return 0o777 & ~(FOLDER_MODE if path.is_dir() else FILE_MODE)


def _below(path: Path) -> Iterator[Path]:
    """What is in the folder, at any depth; links that are in it are not followed."""
    for place, folders, files in os.walk(path):
        below = [Path(place, name) for name in (*folders, *files)]
        yield from (each for each in below if not each.is_symlink())
