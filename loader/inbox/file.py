"""One inbox file: a SQLite file that one worker writes, and the small files beside it that record its state."""

import contextlib
import json
import os
import sqlite3
import weakref
from collections.abc import Iterator
from pathlib import Path

import zstandard

from flagsmith_warehouse.loader import lock
from flagsmith_warehouse.loader.filesystem import make_folder, open_file
from flagsmith_warehouse.loader.inbox.identifier import Identifiers

# With WAL and FULL a commit returns when the disk has it (fsync). On macOS only fullfsync waits for the disk.
PRAGMAS = """
pragma journal_mode = wal;
pragma synchronous = full;
pragma fullfsync = on;
pragma checkpoint_fullfsync = on;
"""
# The format of an inbox file, kept in its `user_version`. In formats 0 and 1 each row has its own `delivery_id`,
# `is_verified` and `body`. Workers always begin a new file, so older formats are only read.
FORMAT = 2
# The file's only writer counts row ids, so no id is used twice, even after its row was landed and deleted.
# (SQLite's autoincrement would write one more page to the log with every commit.)
TABLE = f"""
create table if not exists deliveries (
    row_id integer primary key,
    environment text not null,
    received_at integer not null,  -- microseconds since 1970, UTC
    size integer not null,  -- bytes of its body
    -- Rows are compressed together into one zstd frame, which the last of them holds. It begins with a line of JSON, with
    -- [row_id, delivery_id, environment, received_at, is_verified, size] of each row; the bodies follow. Landing reads
    -- only the frame. The columns above repeat its values for counting the backlog.
    pack blob
);
pragma user_version = {FORMAT};
"""
INSERT = "insert into deliveries (row_id, environment, received_at, size, pack) values "
# Most bodies of a commit are alike, so they are compressed together. This takes 13 µs per body and leaves 1/145 of its bytes;
# compressed alone, a body takes 52 µs and leaves 1/10 (200 flags). A reader holds a whole frame in memory, so a frame has at
# most about this many bytes.
PACK_BYTES, ZSTD_LEVEL = 8 * 2**20, 2
# When a worker's file is larger than this, the worker begins a new one, and `land` removes the old one.
LARGEST_FILE = 256 * 2**20


class InboxFile:
    """One SQLite file and, beside it, the lock that its worker holds for as long as it lives."""

    def __init__(self, folder: Path):
        """Create a file under a new name. Leaves nothing behind if the disk refuses."""
        _make_folder(folder)
        self.path = folder / f"{Identifiers().next()[0]}.sqlite"
        self._connection: sqlite3.Connection | None = None
        self._damaged = _damaged(self.path)
        self._last_row_id = 0
        self._zstd = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)
        self._lock = lock.create_held(lock_of(self.path))
        try:
            os.close(open_file(self.path))  # SQLite copies its permissions to the files it adds
            self._connection = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False, timeout=1
            )
            # Python 3.13 warns about a connection that is dropped without being closed.
            weakref.finalize(self, self._connection.close).atexit = False
            self._connection.executescript(PRAGMAS + TABLE)
        except Exception:
            self.close()
            raise

    def append(self, rows: list[tuple]) -> None:
        """Write all rows or none; they are on disk when this returns. Without rows, it still writes something.

        One statement is one transaction, and gives up Python's lock once. One statement per row would wait for the
        lock once per row.
        """
        if rows:
            places = ", ".join(["(?, ?, ?, ?, ?)"] * len(rows))
            self._connection.execute(INSERT + places, [value for row in self._packed(rows) for value in row])
            self._last_row_id += len(rows)
        else:
            self._connection.execute(f"pragma user_version = {FORMAT}")

    def _packed(self, rows: list[tuple]) -> Iterator[tuple]:
        """The deliveries as rows of the table."""
        known, bodies, size = [], [], 0
        for row_id, row in enumerate(rows, self._last_row_id + 1):
            delivery_id, received_at, environment, is_verified, body = row
            known.append((row_id, delivery_id, environment, received_at, is_verified, len(body)))
            bodies.append(body)
            size += len(body)
            pack = None
            if size >= PACK_BYTES or row is rows[-1]:
                pack = self._zstd.compress(b"".join([json.dumps(known).encode(), b"\n", *bodies]))
                known, bodies, size = [], [], 0
            yield row_id, environment, received_at, len(body), pack

    def is_usable(self) -> bool:
        """False if the file is too large, is damaged, or was removed (then anything written to it would be lost)."""
        try:
            is_small = self.path.stat().st_size < LARGEST_FILE
        except FileNotFoundError:
            return False
        return is_small and not self._damaged.exists()

    def close(self) -> None:
        """Leave the file to `land`. A file that never held a delivery is removed."""
        if self._connection:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        if not self._last_row_id:
            with contextlib.suppress(OSError):
                remove(self.path)
        os.close(self._lock)


def lock_of(path: Path) -> Path:
    """The lock that the worker of the inbox file `path` holds."""
    return path.with_suffix(".lock")


def _damaged(path: Path) -> Path:
    """The mark that tells the worker of the inbox file `path` to begin another one."""
    return path.with_suffix(".damaged")


def mark_damaged(path: Path) -> None:
    """Tell the worker of `path` to begin another file. A running commit may still go into this one."""
    os.close(open_file(_damaged(path)))


def remove(path: Path) -> None:
    """Remove an inbox file and the files beside it. The lock goes last: until then no other process uses the file."""
    for suffix in (".sqlite", ".sqlite-wal", ".sqlite-shm", ".landed", ".damaged", ".lock"):
        path.with_suffix(suffix).unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """Create the folder, and return when its name is on disk: files in it could be lost otherwise."""
    if folder.exists():
        return
    make_folder(folder)
    descriptor = os.open(folder.parent, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def mark_landed(path: Path) -> None:
    """Mark `path` as landed, so that nothing in it is landed again if the process dies before removing it."""
    if path.exists():
        path.rename(path.with_suffix(".landed"))


def files(folder: Path) -> list[Path]:
    """The inbox files of living and dead workers, oldest first."""
    suffixes = (".sqlite", ".landed", ".lock")
    return sorted({path.with_suffix(".sqlite") for path in folder.glob("[!.]*") if path.suffix in suffixes})
