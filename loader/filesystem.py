"""The data folder: it must be on a local disk, and only its owner and group may use it."""

import contextlib
import json
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

# Our files name people. The group may read them (deploy/README.md), others may not. Only the owner may read keys and secrets.
FOLDER_MODE, FILE_MODE, SECRET_MODE = 0o750, 0o640, 0o600
CLOSED = 0o777 & ~FOLDER_MODE
# The files that we create in the data folder. The folder may also hold files that are not ours; we leave those alone.
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
    """The warehouse folder is on a file system on which neither the inbox nor DuckDB is safe."""


def refuse_network(folder: Path, mounts: Path = Path("/proc/mounts")) -> None:
    """Raise NetworkFilesystem if `folder` is on another machine's disk, as far as the system tells (only Linux does)."""
    if mounts.exists() and (kind := _type_of(folder, mounts)) in NETWORK:
        raise NetworkFilesystem(
            f"{folder} is on a network file system ({kind}), on which SQLite and DuckDB can lose data that "
            "they have committed. Set FLAGSMITH_WAREHOUSE_DIR to a folder on a disk of this machine."
        )


def _type_of(folder: Path, mounts: Path) -> str:
    """The type of the file system on which the folder is or will be: that of the deepest mount above it."""
    above = ["/", *(str(path) for path in reversed([folder.resolve(), *folder.resolve().parents]))]
    lines = [line.split() for line in mounts.read_text("utf-8", "surrogateescape").splitlines()]
    types = {place.replace("\\040", " "): kind for _, place, kind, *_ in lines}
    return [types[place] for place in above if place in types][-1]


def sync(path: Path) -> None:
    """Return when the file is on disk. For a folder: when the names in it are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def keep_private() -> None:
    """Set the umask so that others cannot read this process's files, and the group cannot write them.

    A stricter umask stays.
    """
    os.umask(os.umask(CLOSED) | CLOSED)


def make_folder(folder: Path) -> None:
    """Make the folder and all missing folders above it. Others cannot use them, whatever the umask."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)


def write_record(path: Path, record: object) -> None:
    """Replace a file of JSON as a whole. Killed at any moment: the last one stays."""
    make_folder(path.parent)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(record) + "\n", encoding="utf-8")
    close_to_others(unfinished)
    unfinished.replace(path)


def open_file(path: Path, flags: int = 0) -> int:
    """A descriptor to read and write the file; creates the file if needed. Others cannot read it, whatever the umask."""
    return os.open(path, os.O_CREAT | os.O_RDWR | flags, FILE_MODE)


def restrict_permissions(folder: Path) -> None:
    """Close files that are open to others, for example from an earlier release. `doctor` names those that are not ours."""
    for path in open_to_others(folder):
        close_to_others(path)


def close_to_others(path: Path) -> None:
    """Remove all rights of others to the file or folder, and the group's right to write."""
    with contextlib.suppress(OSError):
        path.chmod(path.stat().st_mode & 0o7777 & ~_excess(path))


def open_to_others(folder: Path) -> Iterator[Path]:
    """Our files, and the data folder, if others may read them or the group may write them.

    The folder itself is included only if all files in it are ours, so that nobody loses access to files of their own.
    """
    with contextlib.suppress(OSError):
        entries = [path for path in folder.iterdir() if path.name[0] != "."]
        ours = [path for path in entries if any(map(path.match, OURS))]
        if len(ours) == len(entries) and is_open(folder):
            yield folder
        for path in ours:
            yield from filter(is_open, (path, *_below(path)))


def is_open(path: Path) -> bool:
    """True if others may read, write or enter it, or its group may write it. Shared folders such as /tmp do not count."""
    try:
        mode = path.stat().st_mode
    except OSError:  # it has been removed in the meantime
        return False
    return bool(mode & _excess(path)) and not mode & 0o1000


def _excess(path: Path) -> int:
    """The permissions that a file or folder of ours must not have."""
    return 0o777 & ~(FOLDER_MODE if path.is_dir() else FILE_MODE)


def _below(path: Path) -> Iterator[Path]:
    """All files and folders in the folder, at any depth. Links are not followed."""
    for place, folders, files in os.walk(path):
        below = [Path(place, name) for name in (*folders, *files)]
        yield from (each for each in below if not each.is_symlink())
