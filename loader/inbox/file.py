"""One inbox file: a SQLite file that one worker writes, and the small files beside it that say what state it is in."""

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

# WAL and FULL: a commit returns when the disk has it (fsync); fullfsync: on macOS too, where fsync alone does
# not ask the disk.
PRAGMAS = """
pragma journal_mode = wal;
pragma synchronous = full;
pragma fullfsync = on;
pragma checkpoint_fullfsync = on;
"""
# The form of an inbox file, in its `user_version`. 0 and 1: each row has its own `delivery_id`, `is_verified` and `body`.
# A worker never takes up a file of another one, so an older form is only ever read, by `land`.
FORM = 2
# A row id is never used twice, also after its row has been landed and deleted: the file's one writer counts.
# (With autoincrement SQLite would count, in a page of its own that goes through the log with every commit.)
TABLE = f"""
create table if not exists deliveries (
    row_id integer primary key,
    environment text not null,
    received_at integer not null,  -- microseconds since 1970, UTC
    size integer not null,  -- bytes of its body
    -- In the last row of those that were compressed together: all that is landed of them, one zstd frame. First a line of
    -- JSON, [row_id, delivery_id, environment, received_at, is_verified, size] of each, then their bodies. The columns
    -- above say the same once more, for whoever counts what waits.
    pack blob
);
pragma user_version = {FORM};
"""
INSERT = "insert into deliveries (row_id, environment, received_at, size, pack) values "
# Bodies that came together are compressed together, as most of them is the same: 13 µs and 1/145 of the bytes where each
# by itself takes 52 µs and 1/10 (200 flags). No more than about this many bytes at once: whoever reads holds them.
PACK_BYTES, ZSTD_LEVEL = 8 * 2**20, 2
# A file larger than this is left to `land`, which removes it; a new one is begun.
LARGEST_FILE = 256 * 2**20


class InboxFile:
    """One SQLite file and, beside it, the lock that its worker holds as long as it lives."""

    def __init__(self, folder: Path):
        """A new file under a name that was never used. Leaves nothing behind if the disk refuses."""
        _make_folder(folder)
        self.path = folder / f"{Identifiers().next()[0]}.sqlite"
        self._connection: sqlite3.Connection | None = None
        self._damaged = _damaged(self.path)
        self._last_row_id = 0
        self._zstd = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)
        self._lock = lock.create_held(lock_of(self.path))
        try:
            os.close(open_file(self.path))  # SQLite gives what belongs to it the same permissions
            self._connection = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False, timeout=1
            )
            # Python 3.13 warns of a connection that is dropped without being closed.
            weakref.finalize(self, self._connection.close).atexit = False
            self._connection.executescript(PRAGMAS + TABLE)
        except Exception:
            self.close()
            raise

    def append(self, rows: list[tuple]) -> None:
        """All rows or none, on disk when this returns. Without rows, something is written all the same.

        One statement is one transaction, and one hand-over of Python's lock, where a statement a row would
        wait for it as often as there are rows.
        """
        if rows:
            places = ", ".join(["(?, ?, ?, ?, ?)"] * len(rows))
            self._connection.execute(INSERT + places, [value for row in self._packed(rows) for value in row])
            self._last_row_id += len(rows)
        else:
            self._connection.execute(f"pragma user_version = {FORM}")

    def _packed(self, rows: list[tuple]) -> Iterator[tuple]:
        """The rows of the table: see its columns."""
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
        """False if somebody has removed the file (writing on would lose what comes), or if it is large or damaged."""
        try:
            is_small = self.path.stat().st_size < LARGEST_FILE
        except FileNotFoundError:
            return False
        return is_small and not self._damaged.exists()

    def close(self) -> None:
        """Let go: from here on the file belongs to `land`, unless nothing has ever been kept in it."""
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
    """Where this is, the worker of the inbox file `path` begins another one."""
    return path.with_suffix(".damaged")


def mark_damaged(path: Path) -> None:
    """From here on nothing is added to `path`, but for what its worker has in hand."""
    os.close(open_file(_damaged(path)))


def remove(path: Path) -> None:
    """Remove an inbox file and what belongs to it, the lock last: until then nobody else takes it up."""
    for suffix in (".sqlite", ".sqlite-wal", ".sqlite-shm", ".landed", ".damaged", ".lock"):
        path.with_suffix(suffix).unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """Create the folder, and have its name on disk before anything in it is promised to be."""
    if folder.exists():
        return
    make_folder(folder)
    descriptor = os.open(folder.parent, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def mark_landed(path: Path) -> None:
    """From here on there is nothing to land in `path`, whatever happens before it is removed."""
    if path.exists():
        path.rename(path.with_suffix(".landed"))


def files(folder: Path) -> list[Path]:
    """The inbox files, the oldest first: those of living workers, and what dead ones left."""
    suffixes = (".sqlite", ".landed", ".lock")
    return sorted({path.with_suffix(".sqlite") for path in folder.glob("[!.]*") if path.suffix in suffixes})
