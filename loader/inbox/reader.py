"""Reads inbox files for `land`, `status`, `doctor` and `erase`: of this format and earlier ones, damaged or not."""

import collections
import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import zstandard

from flagsmith_warehouse.loader.inbox.file import files

PACKS = "select row_id, pack from deliveries where pack is not null and row_id >= ? order by row_id"
UNREAD_OF_FORMAT_1 = """
select row_id, delivery_id, environment, received_at, is_verified, body
from deliveries where row_id between ? and ? order by row_id
"""
TYPES_OF_FORMAT_1 = [int, str, str, int, int, bytes]
MEAN_SIZE = "select avg({}) from (select * from deliveries order by row_id limit 100)"
WAITING = """
select (select max(row_id) from deliveries) - row_id + 1, received_at
from deliveries where row_id > ? and typeof(received_at) = 'integer' order by row_id limit 1
"""
# The search for the next readable row of a damaged file gives up after this many rows.
LARGEST_DAMAGE = 100_000


class DamagedError(sqlite3.DatabaseError):
    """Part of an inbox file has changed since it was written. The rows after the damage begin with `next_row_id`."""

    def __init__(self, text: str, next_row_id: int):
        super().__init__(text)
        self.next_row_id = next_row_id


@contextlib.contextmanager
def connect(path: Path) -> Iterator[sqlite3.Connection | None]:
    """A connection to the inbox file `path`, or None if it never held a delivery.

    Raises sqlite3.Error if the file is damaged, even if only its text is no longer UTF-8.
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
                raise sqlite3.DatabaseError(f"it should have the table deliveries, but has {tables}")
            yield connection if tables else None
        except UnicodeDecodeError as error:
            raise sqlite3.DatabaseError(str(error)) from error


def format_of(connection: sqlite3.Connection) -> int:
    """The format of an inbox file. A number above FORMAT means that a later release wrote it."""
    return connection.execute("pragma user_version").fetchone()[0]


def backlog(folder: Path, after: Mapping[str, int] = MappingProxyType({})) -> tuple[int, int | None]:
    """How many deliveries wait to be landed, and when the oldest was received: µs since 1970, or None if none waits.

    `after`: the last row to leave out, by name of inbox file.
    """
    depth, oldest = 0, []
    for path in files(folder):
        with contextlib.suppress(sqlite3.Error), connect(path) as connection:
            if connection and (waiting := connection.execute(WAITING, [after.get(path.name, -1)]).fetchone()):
                depth += waiting[0]
                oldest.append(waiting[1])
    return depth, min(oldest, default=None)


def delete_landed(connection: sqlite3.Connection, last: int) -> None:
    """Delete the rows up to `last`, which have been landed, and record that in the file."""
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
    """The last row that was deleted after landing, in this warehouse or in one that it has replaced."""
    with contextlib.suppress(sqlite3.Error):  # no table, or a damaged one
        last = connection.execute("select max(last_row_id) from deleted").fetchone()[0]
        return last if isinstance(last, int) else 0
    return 0


def unread(connection: sqlite3.Connection, first: int, last: int) -> Iterator[tuple]:
    """All rows from `first` to `last`: row id, delivery id, environment, µs of receipt, whether verified, body.

    Raises sqlite3.Error if the file is damaged.
    """
    expected = first
    for row in (_unread if format_of(connection) >= 2 else _unread_of_format_1)(connection, first, last):
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


def _unread_of_format_1(connection: sqlite3.Connection, first: int, last: int) -> Iterator[tuple]:
    for row in connection.execute(UNREAD_OF_FORMAT_1, [first, last]):
        if [*map(type, row)] != TYPES_OF_FORMAT_1 or not 0 <= row[3] < 2**52:
            raise DamagedError(f"the row {row[0]} is damaged", row[0] + 1)
        yield row


def damage(connection: sqlite3.Connection, last: int | None = None) -> sqlite3.Error | None:
    """The first damage in the rows up to `last` (by default all rows); None if they can be read."""
    try:
        first, newest = connection.execute("select min(row_id), max(row_id) from deliveries").fetchone()
        last = newest if last is None else last
        if first is not None and first <= last:
            collections.deque(unread(connection, first, last), maxlen=0)
    except sqlite3.Error as error:
        return error


def damage_between_rows(connection: sqlite3.Connection) -> sqlite3.Error | None:
    """Damage that reading the rows does not show, such as missing rows; None if there is none."""
    try:
        result = connection.execute("pragma quick_check(1)").fetchone()[0]
        if result != "ok":
            return sqlite3.DatabaseError(result)
        strays = connection.execute("select count(*) - count(row_id) from deliveries").fetchone()[0]
        if strays:
            return sqlite3.DatabaseError(f"{strays} rows have no number")
    except sqlite3.Error as error:
        return error


def next_readable(connection: sqlite3.Connection, first: int, last: int) -> int:
    """The first readable row at or after `first`; last + 1 if there is none, or the damage is very large."""
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
    """The approximate mean size of waiting bodies in bytes, from a sample of each file; 0 if none waits."""
    means = []
    for path in files(folder):
        with contextlib.suppress(sqlite3.Error), connect(path) as connection:
            if connection:
                size = "size" if format_of(connection) >= 2 else "length(body)"
                means += filter(None, connection.execute(MEAN_SIZE.format(size)).fetchone())
    return sum(means) / len(means) if means else 0
