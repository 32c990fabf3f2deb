"""Where a webhook is safe: one SQLite file per worker process, and 2xx only after the commit that holds it.

The web workers never open the warehouse, because DuckDB gives a file to one process at a time. `land` moves
what is committed here into the warehouse, while the workers go on writing.
"""

import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from loader import lock
from loader.identifier import Identifiers

# WAL and FULL: a commit returns when the disk has it (fsync); fullfsync: on macOS too, where fsync alone does
# not ask the disk. Large pages: a body of 8 KB fits one.
PRAGMAS = """
pragma page_size = 16384;
pragma journal_mode = wal;
pragma synchronous = full;
pragma fullfsync = on;
pragma checkpoint_fullfsync = on;
pragma wal_autocheckpoint = 2000;
"""
# autoincrement: a row id is never used twice, also after its row has been landed and deleted.
TABLE = """
create table if not exists deliveries (
    row_id integer primary key autoincrement,
    delivery_id text not null,
    environment text not null,
    received_at integer not null,  -- microseconds since 1970, UTC
    is_verified integer not null,
    body blob not null
)
"""
INSERT = """
insert into deliveries (delivery_id, received_at, environment, is_verified, body) values (?, ?, ?, ?, ?)
"""
FIRST = "select row_id, received_at from deliveries order by row_id limit 1"
# A file larger than this is left to `land`, which removes it; a new one is begun.
LARGEST_FILE = 256 * 2**20


class InboxError(Exception):
    """What was to be kept is not on disk. Nothing of it is: the sender must send it again."""


class _Request:
    """A delivery that waits for the commit that holds it, or for the error that says that none does."""

    __slots__ = ("done", "error", "row")

    def __init__(self, row: tuple | None):
        self.row = row
        self.error: Exception | None = None
        self.done = threading.Lock()
        self.done.acquire()


class Inbox:
    """The inbox of this process. Any thread may call `put`; one thread writes, many deliveries to a commit.

    `on_commit` is told the seconds that each commit took.
    Killed at any moment: what `put` has returned for is on disk, what it has not may or may not be.
    """

    def __init__(self, folder: Path, on_commit: Callable[[float], None] = lambda seconds: None):
        self.folder = folder
        self._on_commit = on_commit
        self._identifiers = Identifiers()
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._file: InboxFile | None = None
        self._writer = threading.Thread(target=self._write, name="inbox", daemon=True)
        self._writer.start()

    def put(self, environment: str, is_verified: bool, body: bytes) -> None:
        """Return when the delivery is on disk. Raises InboxError if it is not."""
        self._wait_for(_Request((*self._identifiers.next(), environment, is_verified, body)))

    def check(self) -> None:
        """Return when something has been written to disk. Raises InboxError if it cannot be."""
        self._wait_for(_Request(None))

    def close(self) -> None:
        """Commit what is waiting, then close the file; `land` will empty and remove it."""
        self._requests.put(None)
        self._writer.join()

    def _wait_for(self, request: _Request) -> None:
        self._requests.put(request)
        request.done.acquire()
        if request.error:
            raise InboxError(f"The inbox {self.folder} cannot be written: {request.error}") from request.error

    def _write(self) -> None:
        while batch := self._next_batch():
            error = self._commit([request.row for request in batch if request.row])
            for request in batch:
                request.error = error
                request.done.release()
        self._give_up_file()

    def _next_batch(self) -> list[_Request]:
        """Everything that waits, at least one; nothing once the inbox is closed."""
        batch = []
        request = self._requests.get()
        with contextlib.suppress(queue.Empty):
            while request:
                batch.append(request)
                request = self._requests.get_nowait()
            self._requests.put(None)  # closed: after this batch
        return batch

    def _commit(self, rows: list[tuple]) -> Exception | None:
        """Write all rows or none. After an error a new file is begun: what the old one holds is committed."""
        started = time.perf_counter()
        try:
            if self._file is None or not self._file.is_usable():
                self._give_up_file()
                self._file = InboxFile(self.folder)
            self._file.append(rows)
            self._on_commit(time.perf_counter() - started)
        except Exception as error:
            self._give_up_file()
            return error
        return None

    def _give_up_file(self) -> None:
        if self._file:
            self._file.close()
        self._file = None


class InboxFile:
    """One SQLite file and, beside it, the lock that its worker holds as long as it lives."""

    def __init__(self, folder: Path):
        """A new file under a name that was never used. Leaves nothing behind if the disk refuses."""
        _make_folder(folder)
        self.path = folder / f"{Identifiers().next()[0]}.sqlite"
        self._connection: sqlite3.Connection | None = None
        self._lock = lock.create_held(lock_of(self.path))
        try:
            self._connection = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False, timeout=1
            )
            self._connection.executescript(PRAGMAS + TABLE)
        except Exception:
            self.close()
            remove(self.path)
            raise

    def append(self, rows: list[tuple]) -> None:
        """All rows in one transaction, which is on disk when this returns; without rows, a write as well."""
        with self._connection:
            self._connection.execute("begin immediate")
            self._connection.execute("pragma user_version = 1")
            self._connection.executemany(INSERT, rows)

    def is_usable(self) -> bool:
        """False if somebody has removed the file (writing on would lose what comes), or if it is large."""
        try:
            return self.path.stat().st_size < LARGEST_FILE
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Let go: from here on the file belongs to `land`."""
        if self._connection:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        os.close(self._lock)


def lock_of(path: Path) -> Path:
    """The lock that the worker of the inbox file `path` holds."""
    return path.with_suffix(".lock")


def remove(path: Path) -> None:
    """Remove an inbox file and what belongs to it, the lock last: until then nobody else takes it up."""
    for suffix in (".sqlite", ".sqlite-wal", ".sqlite-shm", ".lock"):
        path.with_suffix(suffix).unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """Create the folder, and have its name on disk before anything in it is promised to be."""
    if folder.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder.parent, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def files(folder: Path) -> list[Path]:
    """The inbox files, the oldest first: those of living workers, and those that dead ones left."""
    return sorted(
        {path.with_suffix(".sqlite") for path in folder.glob("*.*") if path.suffix in (".sqlite", ".lock")}
    )


@contextlib.contextmanager
def connect(path: Path) -> Iterator[sqlite3.Connection | None]:
    """A connection to the inbox file `path`, or None if it has no deliveries table (yet)."""
    if not path.exists():
        yield None
        return
    connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=10)
    with contextlib.closing(connection):
        connection.execute("pragma synchronous = full")
        tables = connection.execute("select name from sqlite_master where name = 'deliveries'").fetchall()
        yield connection if tables else None


def backlog(folder: Path) -> tuple[int, int | None]:
    """How many deliveries wait to be landed, and when the oldest was received (µs since 1970; None: none)."""
    depth, oldest = 0, []
    for path in files(folder):
        with contextlib.suppress(sqlite3.Error), connect(path) as connection:
            if connection and (first := connection.execute(FIRST).fetchone()):
                depth += connection.execute("select max(row_id) from deliveries").fetchone()[0] - first[0] + 1
                oldest.append(first[1])
    return depth, min(oldest, default=None)
