"""Where a webhook is safe: one SQLite file per worker process, and 2xx only after the commit that holds it.

The web workers never open the warehouse, because DuckDB gives a file to one process at a time. `land` moves
what is committed here into the warehouse, while the workers go on writing.
"""

import collections
import contextlib
import json
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator
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
PACKS = "select row_id, pack from deliveries where pack is not null and row_id >= ? order by row_id"
UNREAD_OF_FORM_1 = """
select row_id, delivery_id, environment, received_at, is_verified, body
from deliveries where row_id between ? and ? order by row_id
"""
TYPES_OF_FORM_1 = [int, str, str, int, int, bytes]
MEAN_SIZE = "select avg({}) from (select * from deliveries order by row_id limit 100)"
WAITING = """
select (select max(row_id) from deliveries) - row_id + 1, received_at
from deliveries where typeof(received_at) = 'integer' order by row_id limit 1
"""
# Bodies that came together are compressed together, as most of them is the same: 13 µs and 1/145 of the bytes where each
# by itself takes 52 µs and 1/10 (200 flags). No more than about this many bytes at once: whoever reads holds them.
PACK_BYTES, ZSTD_LEVEL = 8 * 2**20, 2
# A file larger than this is left to `land`, which removes it; a new one is begun.
LARGEST_FILE = 256 * 2**20
# In a damaged file, so many rows are looked at for the next that can be read.
LARGEST_DAMAGE = 100_000


class InboxError(Exception):
    """What was to be kept is not on disk. Nothing of it is: the sender must send it again."""


class DamagedError(sqlite3.DatabaseError):
    """Something in an inbox file is not what was written. What is behind it begins with the row `next_row_id`."""

    def __init__(self, text: str, next_row_id: int):
        super().__init__(text)
        self.next_row_id = next_row_id


class Batch:
    """Deliveries that share a commit. `done` opens when it has succeeded, or failed with `error`.

    `committed`: for whoever would rather await that.
    """

    def __init__(self):
        self.rows: list[tuple] = []
        self.error: Exception | None = None
        self.committed: Awaitable | None = None
        self.done = threading.Lock()
        self.done.acquire()


class Inbox:
    """The inbox of this process. Any thread may call `put`; deliveries that come together share a commit.

    `on_commit` is told the seconds that each commit took. Killed at any moment: what `put` has returned for
    is on disk, what it has not returned for may or may not be.
    """

    def __init__(self, folder: Path, on_commit: Callable[[float], None] = lambda seconds: None):
        self.folder = folder
        self._on_commit = on_commit
        self._identifiers = Identifiers()
        self._file: InboxFile | None = None
        self._batch = Batch()
        self._batch_lock = threading.Lock()
        self._commit_lock = threading.Lock()

    def put(self, environment: str, is_verified: bool, body: bytes) -> None:
        """Return when the delivery is on disk. Raises InboxError if it is not."""
        batch, is_first = self.join(environment, is_verified, body)
        if is_first:
            self.commit(batch)
        self._wait_for(batch)

    def join(self, environment: str, is_verified: bool, body: bytes) -> tuple[Batch, bool]:
        """The batch that the delivery is in, and whether it is the first: then the caller must `commit` it."""
        row = (*self._identifiers.next(), environment, is_verified, body)
        with self._batch_lock:
            batch = self._batch
            batch.rows.append(row)
        return batch, batch.rows[0] is row

    def check(self) -> None:
        """Return when something has been written to disk. Raises InboxError if it cannot be."""
        batch = Batch()
        self.commit(batch)
        self._wait_for(batch)

    def close(self) -> None:
        """Let go of the file; `land` will empty and remove it."""
        with self._commit_lock:
            self._give_up_file()

    def raise_if_failed(self, batch: Batch) -> None:
        """InboxError if what is in the batch, whose commit is over, is not on disk."""
        if batch.error:
            raise InboxError(f"The inbox {self.folder} cannot be written: {batch.error}") from batch.error

    def commit(self, batch: Batch) -> None:
        """Wait for the commit before it; who comes meanwhile joins the batch. All rows are written or none.

        After an error a new file is begun, and what the old one holds is committed.
        """
        with self._commit_lock:
            with self._batch_lock:
                self._batch = Batch()
            try:
                started = time.perf_counter()
                self._usable_file().append(batch.rows)
                self._on_commit(time.perf_counter() - started)
            except BaseException as error:
                batch.error = error
                self._give_up_file()
            finally:
                batch.done.release()

    def _wait_for(self, batch: Batch) -> None:
        batch.done.acquire()
        batch.done.release()
        self.raise_if_failed(batch)

    def _usable_file(self) -> "InboxFile":
        if self._file is None or not self._file.is_usable():
            self._give_up_file()
            self._file = InboxFile(self.folder)
        return self._file

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


@contextlib.contextmanager
def connect(path: Path) -> Iterator[sqlite3.Connection | None]:
    """A connection to the inbox file `path`, or None if it has no deliveries in it and never had.

    Raises sqlite3.Error where the file is damaged, also for a text in it that is none any more.
    """
    if not path.exists():
        yield None
        return
    connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=10)
    with contextlib.closing(connection):
        try:
            tables = connection.execute("select type, name, tbl_name from sqlite_master").fetchall()
            pages = connection.execute("pragma page_count").fetchone()[0]
            if ("table", "deliveries", "deliveries") not in tables and (tables or pages > 1):
                raise sqlite3.DatabaseError(f"its tables are {tables}, where there should be deliveries")
            yield connection if tables else None
        except UnicodeDecodeError as error:
            raise sqlite3.DatabaseError(str(error)) from error


def form(connection: sqlite3.Connection) -> int:
    """The form in which an inbox file was written; higher than FORM: by a later release."""
    return connection.execute("pragma user_version").fetchone()[0]


def backlog(folder: Path) -> tuple[int, int | None]:
    """How many deliveries wait to be landed, and when the oldest was received (µs since 1970; None: none)."""
    depth, oldest = 0, []
    for path in files(folder):
        with contextlib.suppress(sqlite3.Error), connect(path) as connection:
            if connection and (waiting := connection.execute(WAITING).fetchone()):
                depth += waiting[0]
                oldest.append(waiting[1])
    return depth, min(oldest, default=None)


def delete_landed(connection: sqlite3.Connection, last: int) -> None:
    """Delete the rows up to `last`, which have been landed, and note in the file that they were."""
    connection.execute("begin immediate")
    try:
        connection.execute("create table if not exists deleted (last_row_id integer not null)")
        connection.execute("delete from deliveries where row_id <= ?", [last])
        connection.execute("delete from deleted where last_row_id < ?", [last])
        connection.execute("insert into deleted values (?)", [last])
        connection.execute("commit")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("rollback")
        raise


def last_deleted(connection: sqlite3.Connection) -> int:
    """The last row that was deleted because it had been landed, in this warehouse or in one that was replaced since."""
    with contextlib.suppress(sqlite3.Error):  # no table, or a damaged one
        last = connection.execute("select max(last_row_id) from deleted").fetchone()[0]
        return last if isinstance(last, int) else 0
    return 0


def unread(connection: sqlite3.Connection, first: int, last: int) -> Iterator[tuple]:
    """Row id, delivery id, environment, µs of receipt, whether verified, and body of all rows from `first` to `last`.

    Raises sqlite3.Error where the file is damaged.
    """
    expected = first
    for row in (_unread if form(connection) >= 2 else _unread_of_form_1)(connection, first, last):
        if row[0] != expected:
            raise DamagedError(f"there is nothing in it of the rows {expected} to {row[0] - 1}", row[0])
        yield row
        expected += 1
    if expected <= last:
        raise DamagedError(f"there is nothing in it of the rows {expected} to {last}", last + 1)


def _unread(connection: sqlite3.Connection, first: int, last: int) -> Iterator[tuple]:
    zstd = zstandard.ZstdDecompressor()
    for row_id, pack in connection.execute(PACKS, [first]):
        try:
            head, _, bodies = zstd.decompress(pack).partition(b"\n")
            known = json.loads(head)
            if known[-1][0] != row_id:
                raise ValueError(f"they are of row {known[-1][0]}")
        except (zstandard.ZstdError, ValueError, TypeError, MemoryError) as error:
            raise DamagedError(f"the bodies up to row {row_id} are damaged: {error}", row_id + 1) from error
        start = 0
        for *of_row, size in known:
            if of_row[0] > last:
                return
            if of_row[0] >= first:
                yield *of_row, bodies[start : start + size]
            start += size


def _unread_of_form_1(connection: sqlite3.Connection, first: int, last: int) -> Iterator[tuple]:
    for row in connection.execute(UNREAD_OF_FORM_1, [first, last]):
        if [*map(type, row)] != TYPES_OF_FORM_1 or not 0 <= row[3] < 2**52:
            raise DamagedError(f"the row {row[0]} is damaged", row[0] + 1)
        yield row


def damage(connection: sqlite3.Connection, last: int | None = None) -> sqlite3.Error | None:
    """What is wrong with the rows, those up to `last` or all, or None."""
    try:
        first, newest = connection.execute("select min(row_id), max(row_id) from deliveries").fetchone()
        last = newest if last is None else last
        if first is not None and first <= last:
            collections.deque(unread(connection, first, last), maxlen=0)
    except sqlite3.Error as error:
        return error


def damage_between_rows(connection: sqlite3.Connection) -> sqlite3.Error | None:
    """What is wrong with the file, or None: that rows are missing, say, which those that are there do not tell."""
    try:
        said = connection.execute("pragma quick_check(1)").fetchone()[0]
        if said != "ok":
            return sqlite3.DatabaseError(said)
        strays = connection.execute("select count(*) - count(row_id) from deliveries").fetchone()[0]
        if strays:
            return sqlite3.DatabaseError(f"{strays} rows have no number")
    except sqlite3.Error as error:
        return error


def next_readable(connection: sqlite3.Connection, first: int, last: int) -> int:
    """The first row from `first` on that can be read; last + 1 if none can, or only behind very large damage."""
    row_id = first
    for _ in range(LARGEST_DAMAGE):
        if row_id > last:
            break
        try:
            next(unread(connection, row_id, last))
            return row_id
        except DamagedError as error:
            row_id = error.next_row_id
        except sqlite3.Error:
            row_id += 1
    return last + 1


def mean_size(folder: Path) -> float:
    """About how many bytes a body has that waits to be landed: the mean of some of each file; 0 of none."""
    means = []
    for path in files(folder):
        with contextlib.suppress(sqlite3.Error), connect(path) as connection:
            if connection:
                size = "size" if form(connection) >= 2 else "length(body)"
                means += filter(None, connection.execute(MEAN_SIZE.format(size)).fetchone())
    return sum(means) / len(means) if means else 0
