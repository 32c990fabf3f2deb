"""Records which landings the inbox feeds: the warehouse, object storage, or both. A delivery stays until each has it.

The record is another SQLite file in the inbox, which `land --to` creates. Without it, only the warehouse is fed.
"""

import contextlib
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flagsmith_warehouse.loader.filesystem import make_folder, open_file, sync
from flagsmith_warehouse.loader.inbox import reader

WAREHOUSE = "warehouse"
FILE = "landings.db"  # not .sqlite, because it is not an inbox file
TABLES = """
pragma journal_mode = wal;
create table if not exists loader (loader_id text not null);
create table if not exists landings (
    name text primary key,  -- `warehouse`, or a URL
    is_fed integer not null,
    fed_since integer not null,  -- microseconds since 1970, UTC, as all times here
    last_landed_at integer not null default 0,
    problem text  -- why the last run failed
);
create table if not exists progress (name text, inbox_file text, last_row_id integer not null, primary key (name, inbox_file));
-- The object that is being put: the deliveries up to `reached` in each inbox file are in it.
create table if not exists pending (
    name text primary key, path text not null, content blob not null, landed_at integer not null, reached text not null,
    deliveries integer not null
);
create table if not exists tombstones (name text, path text, content blob not null, primary key (name, path));
pragma user_version = 1;
"""
# With WAL and FULL a commit returns when the disk has it, on macOS only with fullfsync.
PRAGMAS = "pragma synchronous = full; pragma fullfsync = on; pragma secure_delete = on;"
RECORD = "insert or replace into progress values (?, ?, ?)"
READ_BY_ALL = """
select min(coalesce(last_row_id, 0)) from landings
left join progress on progress.name = landings.name and inbox_file = ?
where is_fed
"""


@dataclass(frozen=True)
class Pending:
    """An object whose upload was begun. Whatever happens, exactly these bytes go to this path."""

    path: str
    content: bytes
    landed_at: int
    reached: dict[str, int]
    deliveries: int


class Landings:
    """The landings that the inbox in `folder` feeds. Several processes may use this at once."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.path = folder / FILE

    def names(self) -> list[str]:
        """The names of the landings that are fed, the warehouse first."""
        if not self.path.exists():
            return [WAREHOUSE]
        with self._connect() as connection:
            rows = connection.execute(
                "select name from landings where is_fed order by name <> ?, name", [WAREHOUSE]
            )
            return [name for (name,) in rows]

    def feed(self, name: str, only: bool = False) -> bool:
        """Feed this landing from now on; with `only`, stop feeding all others. Returns True if it was not fed before.

        Without `only`, the warehouse is fed as well, unless it was switched off.
        """
        if not self.path.exists():
            self._create()
        with self._connect() as connection, _transaction(connection):
            fed = {name for (name,) in connection.execute("select name from landings where is_fed")}
            if only:
                # An upload to another landing may have been begun. It may have arrived or not, but nobody repeats it.
                begun = connection.execute(
                    "select name, reached from pending where name <> ?", [name]
                ).fetchall()
                for other, reached in begun:
                    self._end(connection, other, json.loads(reached))
                connection.execute("update landings set is_fed = 0 where name <> ?", [name])
            connection.execute(
                "insert into landings (name, is_fed, fed_since) values (?1, 1, ?2) on conflict (name) do update "
                "set fed_since = iif(is_fed, fed_since, ?2), is_fed = 1",
                [name, _now()],
            )
        return name not in fed

    def loader_id(self) -> str:
        """The random id of this loader, drawn once."""
        with self._connect() as connection:
            return connection.execute("select loader_id from loader").fetchone()[0]

    def progress(self, name: str) -> dict[str, int]:
        """The last row that the landing has of each inbox file, by file name."""
        if not self.path.exists():
            return {}
        with self._connect() as connection:
            return dict(
                connection.execute("select inbox_file, last_row_id from progress where name = ?", [name])
            )

    def record(self, name: str, inbox_file: str, last_row_id: int) -> int:
        """Record that the landing has the file's rows up to this one. Returns the last row that all landings have."""
        if not self.path.exists():
            return last_row_id
        with self._connect() as connection, _transaction(connection):
            connection.execute(RECORD, [name, inbox_file, last_row_id])
            return connection.execute(READ_BY_ALL, [inbox_file]).fetchone()[0] or 0

    def forget(self, inbox_file: str) -> None:
        """Forget the progress of a file that has been removed."""
        if self.path.exists():
            with self._connect() as connection:
                connection.execute("delete from progress where inbox_file = ?", [inbox_file])

    def pending(self, name: str) -> Pending | None:
        """The object whose upload the last run had begun but not finished."""
        with self._connect() as connection:
            row = connection.execute(
                "select path, content, landed_at, reached, deliveries from pending where name = ?", [name]
            ).fetchone()
        return Pending(*row[:3], json.loads(row[3]), row[4]) if row else None

    def begin(self, name: str, pending: Pending) -> None:
        """Keep the object until its upload has finished."""
        row = [
            name,
            pending.path,
            pending.content,
            pending.landed_at,
            json.dumps(pending.reached),
            pending.deliveries,
        ]
        with self._connect() as connection, _transaction(connection):
            connection.execute("insert into pending values (?, ?, ?, ?, ?, ?)", row)
            connection.execute(
                "update landings set last_landed_at = ? where name = ?", [pending.landed_at, name]
            )

    def end(self, name: str, reached: dict[str, int]) -> None:
        """Record that the object has been uploaded, and with it the deliveries up to `reached`."""
        with self._connect() as connection, _transaction(connection):
            self._end(connection, name, reached)

    def _end(self, connection: sqlite3.Connection, name: str, reached: dict[str, int]) -> None:
        connection.executemany(RECORD, [(name, file, row_id) for file, row_id in reached.items()])
        connection.execute("delete from pending where name = ?", [name])

    def last_landed_at(self, name: str) -> int:
        """`landed_at` of the last object that was begun."""
        with self._connect() as connection:
            return connection.execute(
                "select last_landed_at from landings where name = ?", [name]
            ).fetchone()[0]

    def tombstones(self, name: str) -> dict[str, bytes]:
        """The tombstones read from the landing so far, by path."""
        with self._connect() as connection:
            return dict(connection.execute("select path, content from tombstones where name = ?", [name]))

    def keep_tombstone(self, name: str, path: str, content: bytes) -> None:
        """Keep a tombstone, so that it is read from the landing only once."""
        with self._connect() as connection:
            connection.execute("insert or replace into tombstones values (?, ?, ?)", [name, path, content])

    def set_problem(self, name: str, problem: str | None) -> None:
        """Record why the last run failed, or that it did not."""
        with self._connect() as connection:
            connection.execute("update landings set problem = ? where name = ?", [problem, name])

    def waiting(self) -> Iterator[tuple[str, int, int | None, str | None]]:
        """For each landing: how many deliveries wait for it, when the oldest was received, and why the last run failed.

        Empty if only the warehouse is fed: then everything in the inbox waits for it.
        """
        if not self.path.exists():
            return
        with self._connect() as connection:
            problems = dict(connection.execute("select name, problem from landings"))
        for name in self.names():
            yield name, *reader.backlog(self.folder, self.progress(name)), problems.get(name)

    def rewrite(self) -> bool:
        """Overwrite all deleted bytes. Returns False if other processes are too busy with the file."""
        if not self.path.exists():
            return True
        with self._connect() as connection:
            connection.execute("vacuum")
            return not connection.execute("pragma wal_checkpoint(truncate)").fetchone()[0]

    def _create(self) -> None:
        """Create the file in one step, because others conclude from its existence that not only the warehouse is fed."""
        make_folder(self.folder)
        unfinished = self.folder / f".{FILE}-{secrets.token_hex(4)}"
        os.close(open_file(unfinished))
        with contextlib.closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
            connection.executescript(TABLES)
            connection.execute("insert into loader values (?)", [secrets.token_hex(6)])
            connection.execute(
                "insert into landings (name, is_fed, fed_since) values (?, 1, ?)", [WAREHOUSE, _now()]
            )
        with contextlib.suppress(FileExistsError):  # another process was faster, so its file counts
            self.path.hardlink_to(unfinished)
        unfinished.unlink()
        sync(self.folder)

    @contextlib.contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        opened = sqlite3.connect(f"{self.path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=60)
        with contextlib.closing(opened):
            opened.executescript(PRAGMAS)
            yield opened


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("begin immediate")
    try:
        yield
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")


def _now() -> int:
    return time.time_ns() // 1000
