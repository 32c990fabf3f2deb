"""From the inbox to `landing.webhooks`: every delivery once, wherever this is killed.

Each batch is one transaction of the warehouse, and with it goes how far the inbox file has been read. Then
the rows are deleted from the inbox, unless they also wait for object storage (`land --to`). Killed between the
two, the next run sees that they have been landed.
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

# DuckDB compresses what it is given into the file at once, and writes it to no log before, if a transaction has
# the rows of a row group: 50,000 bodies of 8 KB for 28 µs of processor each instead of 57. Its own row groups of
# 122,880 rows would be a gigabyte of bodies each. So a batch has a row group, of about this many bytes of bodies.
ROW_GROUP_BYTES = 72 * 2**20


@dataclass
class Landed:
    """What a run has done: deliveries, the bytes of their bodies, and what could not be read."""

    deliveries: int = 0
    bytes: int = 0
    unreadable: list[str] = field(default_factory=list)

    def note(self, path: Path, error: sqlite3.Error, worker_is_dead: bool) -> None:
        """Say what is wrong with an inbox file. A worker that lives goes on in another one, if it is damaged."""
        if not (worker_is_dead or is_passing(error)):
            inbox_file.mark_damaged(path)
        self.unreadable.append(not_landed(path, error, worker_is_dead))


def land(
    settings: Settings,
    on_batch: Callable[[int], None] = lambda deliveries: None,
    on_wait: Callable[[str], None] = lambda text: None,
    only: bool = False,
) -> Landed:
    """Move what is committed in the inbox into the warehouse; create the warehouse if there is none.

    `only`: from now on nothing waits in the inbox for object storage.
    `on_batch` is told how many deliveries each batch had. A file that cannot be read holds up no other.
    Where DuckDB has too little memory, what is left is landed with more. (It may have landed the batch in which
    it says so: that one is neither landed again nor counted.)
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
                    f"Landing into {settings.warehouse_file} stopped: {error}. What has not been landed is still in "
                    f"{settings.inbox_dir}; run `flagsmith-warehouse land` again when the cause is gone."
                ) from error
    return landed


def _feed(landings: Landings, only: bool, on_wait: Callable[[str], None]) -> None:
    """See to it that deliveries wait for the warehouse. Nothing is to be done where `land --to` has never run."""
    fed = landings.names()
    if WAREHOUSE not in fed:
        on_wait(
            f"The warehouse is fed again. What was received while it was not is only in {', '.join(fed)}."
        )
    if WAREHOUSE not in fed or (only and fed != [WAREHOUSE]):
        landings.feed(WAREHOUSE, only)


def _land(settings: Settings, on_batch, on_wait, landed: Landed, memory: str) -> None:
    """Land what there is, and note in `landed` what was."""
    row_group = row_group_for(reader.mean_size(settings.inbox_dir))
    landed.unreadable.clear()
    with open_warehouse(settings, on_wait, row_group, memory) as warehouse:
        run = Run(settings, warehouse, on_batch, row_group, landed)
        for path in inbox_file.files(settings.inbox_dir):
            run.land_file(path)
        warehouse.execute("checkpoint")


def is_out_of_memory(error: duckdb.Error) -> bool:
    """True if DuckDB was allowed too little memory; of a commit it says so in the message only."""
    return isinstance(error, duckdb.OutOfMemoryException) or "failed to pin block" in str(error)


def is_passing(error: sqlite3.Error) -> bool:
    """True if an inbox file is in use or its disk full; a file that is damaged stays so."""
    codes = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY)
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in codes


def not_landed(path: Path, error: sqlite3.Error, worker_is_dead: bool) -> str:
    """What to say of an inbox file with which something is wrong."""
    if is_passing(error):
        return (
            f"{path} cannot be read or emptied now ({error}). Nothing of it is lost: the next `land` goes on."
        )
    said = f"{path} is damaged ({error}); what could be read has been landed, the rest is lost. The file stays for you "
    if worker_is_dead:
        return said + "to look at: move it away, or every `land` will say so again."
    return said + (
        "to look at. Its worker goes on in another one: let `land` run once more, then move it away, with "
        f"{path.stem}.* that belong to it."
    )


def of_later_release(path: Path, form: int) -> str:
    """What to say of an inbox file that this release cannot read."""
    return (
        f"{path} has the form {form}, and this release knows {inbox_file.FORM}: a later release has written it. Install that "
        "release again, and land; nothing in it was touched."
    )


def row_group_for(mean_bytes: float) -> int:
    """How many rows with bodies of that size make a row group."""
    steps = int(ROW_GROUP_BYTES / max(mean_bytes, 1) / ROW_GROUP_STEP)
    return min(max(steps, 1) * ROW_GROUP_STEP, LARGEST_ROW_GROUP)


class Run:
    """What a run knows from one batch to the next. Who lands from elsewhere than the inbox has one too."""

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
        """Before 0.2, hashes of originals were made without a key where rules only dropped: they could be tried out."""
        self.warehouse.execute(
            "update landing.webhooks set original_payload_hash = left(sha256(? || original_payload_hash), 32) "
            "where original_payload_hash is not null",
            [secrets.token_hex(32)],
        )

    def land_file(self, path: Path) -> None:
        """Land what is committed now. If its worker is dead nothing will be added, and the file is removed.

        A file that cannot be read holds up no other. One that other landings have not read yet stays.
        """
        with lock.try_hold(inbox_file.lock_of(path)) as worker_is_dead:
            try:
                with reader.connect(path) as source:
                    if source and reader.form(source) > inbox_file.FORM:
                        self.landed.unreadable.append(of_later_release(path, reader.form(source)))
                        return
                    if source and not self.land_deliveries(source, path.name, keep=worker_is_dead):
                        return
            except sqlite3.Error as error:
                if not path.exists():  # `land --to` was the last to read it
                    return
                self.landed.note(path, error, worker_is_dead)
                return
            if worker_is_dead:
                inbox_file.mark_landed(path)
                self.warehouse.execute("delete from landing.inbox_progress where inbox_file = ?", [path.name])
                inbox_file.remove(path)
                self.landings.forget(path.name)

    def land_deliveries(self, source: sqlite3.Connection, name: str, keep: bool) -> bool:
        """Batch by batch up to the last delivery there is now, however fast new ones arrive. True if every landing has them.

        `keep`: do not delete what has been landed; the file will be removed as a whole. Raises sqlite3.Error if
        some cannot be read, when the others have been landed: then nothing more of the file is deleted.
        """
        last = source.execute("select max(row_id) from deliveries").fetchone()[0] or 0
        done = (
            self._value("select max(last_row_id) from landing.inbox_progress where inbox_file = ?", name) or 0
        )
        # After a backup was put back, the warehouse knows less than the file: what was landed since is in neither.
        done = max(done, reader.last_deleted(source))
        everywhere = self.landings.record(WAREHOUSE, name, done)
        # A run before this one may have seen damage, and gone on behind it.
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
        if keep and everywhere >= last:  # and so to be removed
            damage = damage or reader.damage_between_rows(source)
        if damage:
            raise damage
        if not keep:
            reader.delete_landed(source, everywhere)
        return everywhere >= last

    def land_batch(self, source: sqlite3.Connection, name: str, first: int, last: int) -> int:
        """One transaction: a bounded number of deliveries, and the row id of the last, which is returned.

        A row group; what would be left for another one that is not full comes along.
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
        """All of the batch, piece by piece: what is appended but not flushed has to fit into memory."""
        with self.warehouse.appender(table) as appender:
            while not batch.is_over:
                appender.append_rows(batch.piece())
                appender.flush()

    def batch(self, deliveries: Iterable[tuple]) -> "Batch":
        """The next batch of `deliveries`, in the order of columns of the inbox."""
        return Batch(deliveries, self.next_landed_at(), self.tombstones.erased, self.apply)

    def count(self, deliveries: int, size: int) -> None:
        """Note what a batch has landed, and tell whoever wants to know."""
        self.landed.deliveries += deliveries
        self.landed.bytes += size
        self.on_batch(deliveries)

    def next_landed_at(self) -> datetime:
        """Now, but later than every batch before: models ask for what is new, and clocks are set back."""
        now = datetime.now(UTC).replace(tzinfo=None)
        self.last_landed_at = max(now, self.last_landed_at + timedelta(microseconds=1))
        return self.last_landed_at

    def _value(self, query: str, *parameters):
        return self.warehouse.execute(query, parameters).fetchone()[0]
