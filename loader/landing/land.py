"""Moves deliveries from the inbox to `landing.webhooks`, each exactly once, even if it is killed at any point.

Each batch is one transaction of the warehouse, which also records how far the inbox file has been read. Then
the rows are deleted from the inbox, unless they also wait for object storage (`land --to`). If `land` is killed between
these two steps, the next run sees that the rows have been landed.
"""

import itertools
import secrets
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from flagsmith_warehouse.loader import lock
from flagsmith_warehouse.loader.inbox import file as inbox_file
from flagsmith_warehouse.loader.inbox import reader
from flagsmith_warehouse.loader.inbox.landings import WAREHOUSE, Landings
from flagsmith_warehouse.loader.landing import privacy
from flagsmith_warehouse.loader.landing.batch import EPOCH, Batch
from flagsmith_warehouse.loader.landing.schema import (
    LARGEST_ROW_GROUP,
    MEMORY,
    ROW_GROUP_STEP,
    LandingError,
    open_warehouse,
    transaction,
)
from flagsmith_warehouse.loader.landing.tombstones import Tombstones
from flagsmith_warehouse.loader.settings import Settings

# If a transaction fills a row group, DuckDB compresses it into the file at once, without writing it to the log first: 50,000
# bodies of 8 KB then take 28 µs of processor time each instead of 57. DuckDB's default row groups of 122,880 rows would be a
# gigabyte of bodies each. So a batch fills one smaller row group, with about this many bytes of bodies.
ROW_GROUP_BYTES = 72 * 2**20


@dataclass
class Landed:
    """What a run has landed: deliveries, the bytes of their bodies, and messages about unreadable files or lines."""

    deliveries: int = 0
    bytes: int = 0
    unreadable: list[str] = field(default_factory=list)

    def note(self, path: Path, error: sqlite3.Error, worker_is_dead: bool) -> None:
        """Report what is wrong with an inbox file. If it is damaged, a living worker goes on in another one."""
        if not (worker_is_dead or is_passing(error)):
            inbox_file.mark_damaged(path)
        self.unreadable.append(not_landed(path, error, worker_is_dead))


def land(
    settings: Settings,
    on_batch: Callable[[int], None] = lambda deliveries: None,
    on_wait: Callable[[str], None] = lambda text: None,
    only: bool = False,
) -> Landed:
    """Move the committed deliveries of the inbox into the warehouse; create the warehouse if needed.

    `only`: from now on nothing waits in the inbox for object storage.
    `on_batch` gets the number of deliveries in each batch. A file that cannot be read does not hold up the others.
    If DuckDB runs out of memory, the rest is landed with more memory. (DuckDB may have landed the batch that failed. Then
    that batch is neither landed again nor counted.)
    """
    landed = Landed()
    _feed(Landings(settings.inbox_dir), only, on_wait)
    for memory in MEMORY:
        try:
            _land(settings, on_batch, on_wait, landed, memory)
            break
        except duckdb.Error as error:
            if memory == MEMORY[-1] or not is_out_of_memory(error):
                raise LandingError(
                    f"Landing into {settings.warehouse_file} stopped: {error}. The remaining deliveries are still in "
                    f"{settings.inbox_dir}; remove the cause and run `flagsmith-warehouse land` again."
                ) from error
    return landed


def _feed(landings: Landings, only: bool, on_wait: Callable[[str], None]) -> None:
    """Make deliveries wait for the warehouse. There is nothing to do if `land --to` has never run."""
    fed = landings.names()
    if WAREHOUSE not in fed:
        on_wait(
            f"The warehouse is fed again. Deliveries received in the meantime are only in {', '.join(fed)}."
        )
    if WAREHOUSE not in fed or (only and fed != [WAREHOUSE]):
        landings.feed(WAREHOUSE, only)


def _land(settings: Settings, on_batch, on_wait, landed: Landed, memory: str) -> None:
    """Land all waiting deliveries, and count them in `landed`."""
    row_group = row_group_for(reader.mean_size(settings.inbox_dir))
    landed.unreadable.clear()
    with open_warehouse(settings, on_wait, row_group, memory) as warehouse:
        run = Run(settings, warehouse, on_batch, row_group, landed)
        for path in inbox_file.files(settings.inbox_dir):
            run.land_file(path)
        warehouse.execute("checkpoint")


def is_out_of_memory(error: duckdb.Error) -> bool:
    """True if DuckDB ran out of memory. For a commit, only the message of the error says so."""
    return isinstance(error, duckdb.OutOfMemoryException) or "failed to pin block" in str(error)


def is_passing(error: sqlite3.Error) -> bool:
    """True if an inbox file is in use or its disk is full. These errors pass; damage does not."""
    codes = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY)
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in codes


def not_landed(path: Path, error: sqlite3.Error, worker_is_dead: bool) -> str:
    """The message about an inbox file that could not be landed completely."""
    if is_passing(error):
        return (
            f"{path} cannot be read or emptied now ({error}). Nothing in it is lost: the next `land` goes on."
        )
    damage = f"{path} is damaged ({error}); what could be read has been landed, the rest is lost. The file stays for you "
    if worker_is_dead:
        return damage + "to look at: move it away, or every `land` will say so again."
    return damage + (
        "to look at. Its worker goes on in another one: let `land` run once more, then move it away, with "
        f"{path.stem}.*, which belong to it."
    )


def of_later_release(path: Path, number: int) -> str:
    """The message about an inbox file that this release cannot read."""
    return (
        f"{path} has format {number}, and this release knows format {inbox_file.FORMAT}: a later release has written it. Install that "
        "release again, and land; the file was not changed."
    )


def row_group_for(mean_bytes: float) -> int:
    """The number of rows of a row group, if bodies have that mean size."""
    steps = int(ROW_GROUP_BYTES / max(mean_bytes, 1) / ROW_GROUP_STEP)
    return min(max(steps, 1) * ROW_GROUP_STEP, LARGEST_ROW_GROUP)


class Run:
    """The state of a run from one batch to the next. Landing from captures uses one, too."""

    def __init__(
        self,
        settings: Settings,
        warehouse: duckdb.DuckDBPyConnection,
        on_batch: Callable[[int], None],
        row_group: int = LARGEST_ROW_GROUP,
        landed: Landed | None = None,
    ):
        self.warehouse = warehouse
        self.landings = Landings(settings.inbox_dir)
        rules = privacy.read(
            settings.privacy_file, settings.privacy_key, settings.privacy_key_file, self._hide_hashes
        )
        self.apply = rules.apply if rules else privacy.unaltered
        self.tombstones = Tombstones(warehouse)
        self.on_batch = on_batch
        self.row_group = row_group
        self.landed = landed or Landed()
        self.last_landed_at = self._value("select max(landed_at) from landing.webhooks") or EPOCH

    def _hide_hashes(self) -> None:
        """Before 0.2, hashes of original bodies had no key if rules only dropped, so the bodies could be guessed by trying."""
        self.warehouse.execute(
            "update landing.webhooks set original_payload_hash = left(sha256(? || original_payload_hash), 32) "
            "where original_payload_hash is not null",
            [secrets.token_hex(32)],
        )

    def land_file(self, path: Path) -> None:
        """Land all deliveries now committed in the file. If its worker is dead, nothing can be added, and the file is removed.

        A file that cannot be read does not hold up the others. A file that other landings have not read yet stays.
        """
        with lock.try_hold(inbox_file.lock_of(path)) as worker_is_dead:
            try:
                with reader.connect(path) as source:
                    if source and reader.format_of(source) > inbox_file.FORMAT:
                        self.landed.unreadable.append(of_later_release(path, reader.format_of(source)))
                        return
                    if source and not self.land_deliveries(source, path.name, keep=worker_is_dead):
                        return
            except sqlite3.Error as error:
                if not path.exists():  # `land --to` was the last landing to read it
                    return
                self.landed.note(path, error, worker_is_dead)
                return
            if worker_is_dead:
                inbox_file.mark_landed(path)
                self.warehouse.execute("delete from landing.inbox_progress where inbox_file = ?", [path.name])
                inbox_file.remove(path)
                self.landings.forget(path.name)

    def land_deliveries(self, source: sqlite3.Connection, name: str, keep: bool) -> bool:
        """Land batch by batch up to the last delivery that is now in the file. Returns True if every landing has them.

        `keep`: do not delete landed rows, because the whole file will be removed. If some rows cannot be read, the others
        are landed first, nothing more is deleted from the file, and sqlite3.Error is raised.
        """
        last = source.execute("select max(row_id) from deliveries").fetchone()[0] or 0
        done = (
            self._value("select max(last_row_id) from landing.inbox_progress where inbox_file = ?", name) or 0
        )
        # After a restore, the warehouse has less progress than the file: rows landed since the backup are in neither.
        done = max(done, reader.last_deleted(source))
        everywhere = self.landings.record(WAREHOUSE, name, done)
        # An earlier run may have found damage, and landed the rows after it.
        damage = reader.damage(source, everywhere)
        while done < last:
            try:
                if not (keep or damage):
                    reader.delete_landed(source, everywhere)
                done = self.land_batch(source, name, done + 1, last)
            except sqlite3.Error as error:
                if is_passing(error):
                    raise
                damage = damage or error
                done = reader.next_readable(source, done + 1, last) - 1
            everywhere = self.landings.record(WAREHOUSE, name, done)
        if keep and everywhere >= last:  # the file is about to be removed
            damage = damage or reader.damage_between_rows(source)
        if damage:
            raise damage
        if not keep:
            reader.delete_landed(source, everywhere)
        return everywhere >= last

    def land_batch(self, source: sqlite3.Connection, name: str, first: int, last: int) -> int:
        """Land a bounded number of deliveries in one transaction. Returns the row id of the last.

        A batch fills a row group. If the rest would not fill another one, the batch includes it.
        """
        waiting = last - first + 1
        limit = self.row_group if waiting >= 2 * self.row_group else waiting
        batch = self.batch(itertools.islice(reader.unread(source, first, last), limit))
        with transaction(self.warehouse):
            self.append(batch, "landing.webhooks")
            if batch.last_row_id is None:
                raise batch.error
            self.warehouse.execute("delete from landing.inbox_progress where inbox_file = ?", [name])
            self.warehouse.execute(
                "insert into landing.inbox_progress values (?, ?)", [name, batch.last_row_id]
            )
        self.count(batch.deliveries, batch.bytes)
        return batch.last_row_id

    def append(self, batch: "Batch", table: str) -> None:
        """Append the batch piece by piece, because appended rows stay in memory until they are flushed."""
        with self.warehouse.appender(table) as appender:
            while not batch.is_over:
                appender.append_rows(batch.piece())
                appender.flush()

    def batch(self, deliveries: Iterable[tuple]) -> "Batch":
        """The next batch of `deliveries`, which have the inbox's columns in order."""
        return Batch(deliveries, self.next_landed_at(), self.tombstones.erased, self.apply)

    def count(self, deliveries: int, size: int) -> None:
        """Add a batch to the counts, and tell `on_batch`."""
        self.landed.deliveries += deliveries
        self.landed.bytes += size
        self.on_batch(deliveries)

    def next_landed_at(self) -> datetime:
        """Now, but always later than every earlier batch. Models look for new batches, and clocks may be set back."""
        now = datetime.now(UTC).replace(tzinfo=None)
        self.last_landed_at = max(now, self.last_landed_at + timedelta(microseconds=1))
        return self.last_landed_at

    def _value(self, query: str, *parameters):
        return self.warehouse.execute(query, parameters).fetchone()[0]
