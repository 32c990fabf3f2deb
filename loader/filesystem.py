"""Is the disk one that keeps what it promises? Network file systems do not keep SQLite's locks and logs."""

import os
from pathlib import Path

from loader import LoaderError

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
