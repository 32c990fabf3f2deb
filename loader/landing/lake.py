"""Moves deliveries from the inbox to Parquet on object storage (`land --to URL`), each exactly once, even if it is killed.

Each file is made, and saved in the inbox with its path and with the last row of each inbox file that it contains. Then it is
put, unless it is there already. Then the rows are deleted from the inbox. If the command is killed, the next run puts the same
bytes under the same path.
"""

import contextlib
import glob
import hashlib
import json
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import duckdb

from flagsmith_warehouse.loader import LoaderError, lock
from flagsmith_warehouse.loader.filesystem import make_folder, sync
from flagsmith_warehouse.loader.inbox import file as inbox_file
from flagsmith_warehouse.loader.inbox import reader
from flagsmith_warehouse.loader.inbox.landings import Landings, Pending
from flagsmith_warehouse.loader.landing import privacy, schema
from flagsmith_warehouse.loader.landing import tombstones as tombstones_module
from flagsmith_warehouse.loader.landing.batch import EPOCH, Batch, as_bytes
from flagsmith_warehouse.loader.landing.land import Landed, is_passing, of_later_release
from flagsmith_warehouse.loader.landing.tombstones import Tombstones
from flagsmith_warehouse.loader.settings import Settings
from flagsmith_warehouse.loader.text import first_line

Result = TypeVar("Result")

SCHEMES = ("file", "s3", "gs", "az", "abfs", "abfss")
# Storage that does not answer is asked again for this long; then the next run asks.
RETRY_SECONDS, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 30.0, 0.2, 5.0
CLIENT = {"connect_timeout": timedelta(seconds=5), "timeout": timedelta(minutes=2), "allow_http": True}
DUCKDB = {"threads": 2, "memory_limit": "1GB"}
# Bodies that are alike stand together. Readers skip names that begin with an underscore.
ORDER = "environment, body, received_at, delivery_id"
TOMBSTONES = "_tombstones"


class LakeError(LoaderError):
    """The files on object storage are not complete. What is not there is still in the inbox."""


@dataclass
class Put(Landed):
    """What a run has done, and in how many files."""

    files: int = 0


def land(
    settings: Settings,
    url: str,
    only: bool = False,
    on_batch: Callable[[int], None] = lambda deliveries: None,
    on_wait: Callable[[str], None] = lambda text: None,
) -> Put:
    """Move what is committed in the inbox into Parquet files below `url`.

    From the first time on, a delivery leaves the inbox when it is both there and in the warehouse; with `only`, when it
    is there. Raises LakeError, LandingError, SettingsError, StillHeld.
    """
    store = Store(url, on_wait)
    landings = Landings(settings.inbox_dir)
    with contextlib.ExitStack() as locks:
        is_new = store.url not in landings.names()
        # People who were erased from the warehouse earlier must not appear again on object storage.
        has_tombstones = is_new and settings.warehouse_file.exists()
        if has_tombstones:
            locks.enter_context(lock.hold(settings.warehouse_lock, settings.lock_timeout_seconds, on_wait))
        locks.enter_context(lock.hold(settings.object_storage_lock, settings.lock_timeout_seconds, on_wait))
        if is_new:  # a mistyped URL is not waited for
            store.paths(TOMBSTONES)
        if has_tombstones:
            with schema.open_warehouse(settings, on_wait) as warehouse:
                put_tombstones(store, warehouse)
        landings.feed(store.url, only)
        try:
            run = Run(settings, store, landings, on_batch)
            run.land()
        except (LoaderError, duckdb.Error, sqlite3.Error, OSError) as error:
            problem = _why(error)
            landings.set_problem(store.url, problem)
            if isinstance(error, LoaderError):
                raise
            raise LakeError(
                f"Landing to {store.url} stopped: {problem}. What is not there is still in {settings.inbox_dir}; run "
                "the same command again when the cause is gone."
            ) from error
        landings.set_problem(store.url, None)
    return run.landed


def erase(settings: Settings, url: str, on_wait: Callable[[str], None] = lambda text: None) -> int:
    """Remove everybody who has a tombstone from all files below `url`. Returns the number of removed rows.

    A file is written anew under its own path, so that no loader puts it again. Raises LakeError.
    """
    store = Store(url, on_wait)
    with (
        lock.hold(settings.object_storage_lock, settings.lock_timeout_seconds, on_wait),
        _scratch(settings) as scratch,
    ):
        read_tombstones(store, landings := Landings(settings.inbox_dir))
        erased = erased_by(landings.tombstones(store.url))
        paths = [path for path in store.paths() if path.endswith(".parquet")]
        return sum(rewrite(store, path, erased, scratch) for path in paths)


def prune(
    settings: Settings,
    url: str,
    paths: list[str],
    cutoffs: dict[str, datetime],
    on_wait: Callable[[str], None] = lambda text: None,
) -> int:
    """Remove deliveries from before the cutoff of their environment from files below `url`. Returns how many those were.

    A file with no other delivery is deleted. Raises LakeError, StillHeld.
    """
    store = Store(url, on_wait)

    def is_old(environment: str, received_at: datetime, body: bytes) -> bool:
        return received_at < cutoffs.get(environment, datetime.min)

    with (
        lock.hold(settings.object_storage_lock, settings.lock_timeout_seconds, on_wait),
        _scratch(settings) as scratch,
    ):
        return sum(rewrite(store, path, is_old, scratch, keeps_empty=False) for path in paths)


class Store:
    """Object storage below a URL; what goes wrong there is tried again for a while. Raises LakeError."""

    def __init__(self, url: str, on_wait: Callable[[str], None] = lambda text: None):
        self.url = normal(url)
        self._on_wait = on_wait
        self._obstore = _import_obstore()
        options = (
            {"mkdir": True}
            if self.url.startswith("file:")
            else {"client_options": CLIENT, "retry_config": {"max_retries": 0}}
        )
        try:
            self._store = self._obstore.store.from_url(self.url, **options)
        except (self._obstore.exceptions.BaseError, ValueError, OSError) as error:
            raise LakeError(f"{self.url} cannot be used: {_why(error)}") from error

    def put(self, path: str, content: bytes) -> None:
        """Create the object. If it exists already, it is the same object, because no two objects share a path."""
        already = self._obstore.exceptions.AlreadyExistsError

        def create() -> None:
            with contextlib.suppress(already):
                self._obstore.put(self._store, path, content, mode="create", use_multipart=False)

        self._insist(create)
        self._sync(path)

    def get(self, path: str) -> tuple[bytes, dict]:
        """The object and its tag, which changes when somebody overwrites the object."""

        def read() -> tuple[bytes, dict]:
            found = self._obstore.get(self._store, path)
            return bytes(found.bytes()), {
                key: found.meta[key] for key in ("e_tag", "version") if found.meta[key]
            }

        return self._insist(read)

    def delete(self, path: str) -> None:
        """Delete the object, if it is still there."""
        with contextlib.suppress(FileNotFoundError):
            self._insist(lambda: self._obstore.delete(self._store, path))

    def replace(self, path: str, content: bytes, tag: dict) -> bool:
        """Write the object anew. False if somebody else has done so in between. A local folder cannot tell."""
        changed = self._obstore.exceptions.PreconditionError
        mode = "overwrite" if self.url.startswith("file:") else tag

        def write() -> bool:
            try:
                self._obstore.put(self._store, path, content, mode=mode, use_multipart=False)
            except changed:
                return False
            return True

        is_written = self._insist(write)
        self._sync(path)
        return is_written

    def paths(self, below: str | None = None) -> list[str]:
        """All objects, in order."""
        return sorted(
            self._insist(
                lambda: [
                    each["path"] for page in self._obstore.list(self._store, prefix=below) for each in page
                ]
            )
        )

    def _insist(self, attempt: Callable[[], Result]) -> Result:
        """Try until it is done, with longer and longer pauses. Raises LakeError at the end of it."""
        exceptions = self._obstore.exceptions
        for_good = (
            *(exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, exceptions.InvalidPathError),
            *(exceptions.NotSupportedError, FileNotFoundError, NotImplementedError),
        )
        deadline, pause = time.monotonic() + RETRY_SECONDS, FIRST_PAUSE_SECONDS
        while True:
            try:
                return attempt()
            except (exceptions.BaseError, ValueError, OSError, NotImplementedError) as error:
                if isinstance(error, for_good) or time.monotonic() + pause > deadline:
                    raise LakeError(
                        f"{self.url} cannot be read or written: {_why(error)}. Nothing is lost: what is not there is "
                        "still in the inbox. Run the same command again when the cause is gone."
                    ) from error
                if pause == FIRST_PAUSE_SECONDS:
                    self._on_wait(f"Trying again for {RETRY_SECONDS:g} s: {self.url}: {_why(error)}.")
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _sync(self, path: str) -> None:
        """Of a local folder: return when the disk has the file, and the names of the folders that lead to it."""
        if not self.url.startswith("file:"):
            return
        root = Path(unquote(urlsplit(self.url).path))
        for unfinished in (root / path).parent.glob(
            f"{glob.escape((root / path).name)}#*"
        ):  # of a run that was killed
            unfinished.unlink(missing_ok=True)
        for each in (root / path, *(root / path).parents):
            sync(each)
            if each == root.parent:
                break


def normal(url: str) -> str:
    """The URL without slashes at its end. Raises LakeError for one that leads nowhere."""
    try:
        parts = urlsplit(url)
        is_whole = (
            bool(parts.path.strip("/")) and not parts.netloc if parts.scheme == "file" else bool(parts.netloc)
        )
        is_plain = not (parts.password or parts.query or parts.fragment)
    except ValueError:
        is_whole = is_plain = False
    if not (is_whole and is_plain and parts.scheme in SCHEMES and url.isprintable()):
        raise LakeError(
            f"{url!r} is no place to land to. Name one like s3://bucket/prefix or file:///folder; an endpoint and credentials are "
            "read from the environment (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, …)."
        )
    return url.rstrip("/")


class Run:
    """One run of `land --to`. The caller holds the lock of object storage."""

    def __init__(self, settings: Settings, store: Store, landings: Landings, on_batch: Callable[[int], None]):
        self.settings = settings
        self.store = store
        self.landings = landings
        self.on_batch = on_batch
        self.landed = Put()
        rules = privacy.read(
            settings.privacy_file, settings.privacy_key, settings.privacy_key_file, self._refuse_first_key
        )
        self.apply = rules.apply if rules else privacy.unaltered
        self.until: dict[str, int] = {}
        self.reached: dict[str, int] = {}
        self.before: dict[str, int] = {}
        self.dead: set[str] = set()
        self.noted: set[str] = set()

    def land(self) -> None:
        """Put what an earlier run has begun, then everything that is in the inbox now."""
        self.reached = self.landings.progress(self.store.url)
        # Read tombstones first: if storage does not answer, no file is begun, so none is named after an hour long past.
        read_tombstones(self.store, self.landings)
        self.erased = erased_by(self.landings.tombstones(self.store.url))
        with _scratch(self.settings) as self.scratch:
            if begun := self.landings.pending(self.store.url):
                self._put(begun, is_new=False)
                self.reached |= begun.reached
            self.before = dict(self.reached)
            self.until = self._newest_rows()
            self._release()
            while (file := self._next_file()) is not None:
                if file.deliveries:
                    self.landings.begin(self.store.url, file)
                    self._put(file, is_new=True)
                else:
                    self.landings.end(self.store.url, file.reached)
                self.reached = file.reached
                self._release()

    def _refuse_first_key(self) -> None:
        if self.settings.warehouse_file.exists():
            raise LakeError(
                f"{self.settings.privacy_key_file} is missing, and `land --to` does not make one beside a warehouse: run "
                "`flagsmith-warehouse land` first."
            )

    def _newest_rows(self) -> dict[str, int]:
        """The last row of each readable inbox file at this moment. Rows that arrive later are left to the next run."""
        newest = {}
        for path in inbox_file.files(self.settings.inbox_dir):
            with lock.try_hold(inbox_file.lock_of(path)) as worker_is_dead:
                self.dead |= {path.name} if worker_is_dead else set()
            with self._noting_damage(path), reader.connect(path) as source:
                if source and reader.format_of(source) > inbox_file.FORMAT:
                    self.landed.unreadable.append(of_later_release(path, reader.format_of(source)))
                elif source:
                    newest[path.name] = (
                        source.execute("select max(row_id) from deliveries").fetchone()[0] or 0
                    )
        return newest

    def _next_file(self) -> Pending | None:
        """The next deliveries, as the file that is going to be put; None where there is nothing left to read."""
        landed_at = self._next_landed_at()
        reached = dict(self.reached)
        batch = Batch(self._deliveries(reached), landed_at, self.erased, self.apply)
        with _database(self.scratch) as database:
            with database.appender("landing.webhooks") as appender:
                while not batch.is_over:
                    appender.append_rows(batch.piece())
                    appender.flush()
            if reached == self.reached:
                return None
            content = _parquet(database, "landing.webhooks", self.scratch) if batch.deliveries else b""
        self.landed.bytes += batch.bytes
        path = (
            f"day={landed_at:%Y-%m-%d}/hour={landed_at:%H}/"
            f"{self.landings.loader_id()}-{landed_at:%M%S%f}-{secrets.token_hex(4)}.parquet"
        )
        microseconds = (landed_at - EPOCH) // timedelta(microseconds=1)
        return Pending(path, content, microseconds, reached, batch.deliveries)

    def _next_landed_at(self) -> datetime:
        """Now, but later than every file of this loader before, as clocks are set back."""
        now = (datetime.now(UTC).replace(tzinfo=None) - EPOCH) // timedelta(microseconds=1)
        return EPOCH + timedelta(microseconds=max(now, self.landings.last_landed_at(self.store.url) + 1))

    def _deliveries(self, reached: dict[str, int]) -> Iterator[tuple]:
        """The deliveries that no file holds yet, by inbox file. Records in `reached` the last row taken from each."""
        for path in inbox_file.files(self.settings.inbox_dir):
            last = self.until.get(path.name, 0)
            with self._noting_damage(path), reader.connect(path) as source:
                done = max(self.reached.get(path.name, 0), reader.last_deleted(source)) if source else last
                while done < last:
                    try:
                        for row in reader.unread(source, done + 1, last):
                            done = reached[path.name] = row[0]
                            yield row
                    except sqlite3.Error as error:
                        if is_passing(error):
                            raise
                        self._note(path, error)
                        done = reached[path.name] = reader.next_readable(source, done + 1, last) - 1

    def _put(self, file: Pending, is_new: bool) -> None:
        """Put the file, then remove everybody who was erased after it was made. An `erase` that begins later finds the file itself."""
        self.store.put(file.path, file.content)
        if read_tombstones(self.store, self.landings) or not is_new:
            self.erased = erased_by(self.landings.tombstones(self.store.url))
            rewrite(self.store, file.path, self.erased, self.scratch)
        self.landings.end(self.store.url, file.reached)
        self.landed.files += 1
        self.landed.deliveries += file.deliveries
        self.on_batch(file.deliveries)

    def _release(self) -> None:
        """Delete the rows that every landing has from the inbox. As in `land`, nothing is deleted from damaged files."""
        for path in inbox_file.files(self.settings.inbox_dir):
            if path.name in self.noted:
                continue
            with lock.try_hold(inbox_file.lock_of(path)) as worker_is_dead, self._noting_damage(path):
                if self._is_emptied(path, worker_is_dead) and worker_is_dead:
                    inbox_file.mark_landed(path)
                    inbox_file.remove(path)
                    self.landings.forget(path.name)

    def _is_emptied(self, path: Path, worker_is_dead: bool) -> bool:
        """Delete rows from a file. True if nothing in it is needed any more; then rows may still be there."""
        with reader.connect(path) as source:
            if source is None:
                return True
            if path.name not in self.until:  # it cannot be read, or is new
                return False
            first, last = source.execute("select min(row_id), max(row_id) from deliveries").fetchone()
            done = max(self.reached.get(path.name, 0), reader.last_deleted(source))
            everywhere = self.landings.record(self.store.url, path.name, done)
            is_over = worker_is_dead and everywhere >= (last or 0)
            # This run has read its own rows without an error. An earlier run may have skipped damage, so check the rows before.
            damage = reader.damage(source, min(everywhere, self.before.get(path.name, 0)))
            if damage := damage or (reader.damage_between_rows(source) if is_over else None):
                raise damage
            if not is_over and first is not None and first <= everywhere:
                reader.delete_landed(source, everywhere)
            return is_over

    @contextlib.contextmanager
    def _noting_damage(self, path: Path) -> Iterator[None]:
        """A file that cannot be read holds up no other."""
        try:
            yield
        except sqlite3.Error as error:
            if path.exists():
                self._note(path, error)

    def _note(self, path: Path, error: sqlite3.Error) -> None:
        """Say once what is wrong with a file; a worker that lives goes on in another one."""
        if path.name in self.noted:
            return
        self.noted.add(path.name)
        self.landed.note(path, error, worker_is_dead=path.name in self.dead)


def put_tombstones(store: Store, warehouse: duckdb.DuckDBPyConnection) -> None:
    """Put up, where every loader reads them, the tombstones of the warehouse that are not there yet."""
    Tombstones(warehouse)
    there = {path.rpartition("/")[2] for path in store.paths(TOMBSTONES)}
    names: dict[str, set[tuple[int, int]]] = {}
    for hashed, *name in warehouse.execute("from landing.tombstone_names").fetchall():
        names.setdefault(hashed, set()).add(tuple(name))
    for environment, hashed, key, at in warehouse.execute("from landing.tombstones").fetchall():
        content = json.dumps(
            {
                "environment": environment,
                "identity_hash": hashed,
                "hash_key": key,
                "erased_at": at.isoformat(),
                "names": sorted(names.get(hashed, ())),
            }
        ).encode()
        name = f"{hashlib.sha256(content).hexdigest()[:32]}.json"
        if name not in there:
            store.put(f"{TOMBSTONES}/{name}", content)


def read_tombstones(store: Store, landings: Landings) -> bool:
    """Read the tombstones that have been put up since; True if there are any."""
    known = landings.tombstones(store.url)
    unknown = [path for path in store.paths(TOMBSTONES) if path.endswith(".json") and path not in known]
    for path in unknown:
        content, _ = store.get(path)
        erased_by({path: content})
        landings.keep_tombstone(store.url, path, content)
    return bool(unknown)


def erased_by(tombstones: dict[str, bytes]) -> Callable[[str, datetime, bytes], bool]:
    """Whether a body is about somebody who was erased. Each warehouse has its own key. Raises LakeError."""
    by_key: dict[str, duckdb.DuckDBPyConnection] = {}
    for path, content in tombstones.items():
        try:
            tombstone = json.loads(content)
            row = [
                tombstone["environment"],
                tombstone["identity_hash"],
                tombstone["hash_key"],
                datetime.fromisoformat(tombstone["erased_at"]),
            ]
            names = [[tombstone["identity_hash"], length, opening] for length, opening in tombstone["names"]]
        except (ValueError, TypeError, KeyError) as error:
            raise LakeError(
                f"{path} is no tombstone ({error!r}). Nothing is landed while it is not known whose it is."
            ) from None
        if row[2] not in by_key:
            by_key[row[2]] = duckdb.connect()
            by_key[row[2]].execute("create schema landing")
            by_key[row[2]].execute(tombstones_module.TABLES)
        by_key[row[2]].execute("insert into landing.tombstones values (?, ?, ?, ?)", row)
        for name in names:
            by_key[row[2]].execute("insert into landing.tombstone_names values (?, ?, ?)", name)
    each = [Tombstones(database) for database in by_key.values()]
    return lambda *delivery: any(one.erased(*delivery) for one in each)


def rewrite(
    store: Store,
    path: str,
    erased: Callable[[str, datetime, bytes], bool],
    scratch: Path,
    keeps_empty: bool = True,
) -> int:
    """Take what is `erased` out of a file. How many rows that were.

    A file with no other row stays, so that no loader puts it again; unless `keeps_empty` is false.
    """
    while True:
        content, tag = store.get(path)
        file = scratch / "before.parquet"
        file.write_bytes(content)
        with _database(scratch) as database:
            database.execute(
                "insert into landing.webhooks from read_parquet(?, hive_partitioning = false)", [str(file)]
            )
            cursor = database.cursor().execute(
                "select delivery_id, environment, received_at, body_encoding, body from landing.webhooks"
            )
            found = []
            while rows := cursor.fetchmany(1_000):
                found += [
                    each for each, *about, encoding, body in rows if erased(*about, as_bytes(encoding, body))
                ]
            if not found:
                return 0
            database.execute("delete from landing.webhooks where list_contains(?, delivery_id)", [found])
            if not keeps_empty and not database.execute("from landing.webhooks limit 1").fetchall():
                store.delete(path)
                return len(found)
            if store.replace(path, _parquet(database, "landing.webhooks", scratch), tag):
                return len(found)


def _parquet(database: duckdb.DuckDBPyConnection, table: str, scratch: Path) -> bytes:
    """The rows of a table as the bytes of a Parquet file."""
    file = scratch / "after.parquet"
    database.table(table).order(ORDER).write_parquet(str(file), compression="zstd")
    return file.read_bytes()


@contextlib.contextmanager
def _database(scratch: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A landing in memory, with nothing in it."""
    with contextlib.closing(
        duckdb.connect(config={**DUCKDB, "temp_directory": str(scratch / "spilled")})
    ) as database:
        database.execute("set enable_progress_bar = false")
        database.execute(schema.TABLES)
        yield database


@contextlib.contextmanager
def _scratch(settings: Settings) -> Iterator[Path]:
    """A folder for this run. What a run that was killed has left in it is removed."""
    folder = settings.warehouse_dir / "object-storage.unfinished"
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _why(error: Exception) -> str:
    """What it says, to be put into a sentence."""
    return first_line(error).rstrip(".")


def _import_obstore() -> ModuleType:
    try:
        import obstore
        import obstore.store
    except ModuleNotFoundError as error:
        raise LakeError(
            f"`land --to` needs {error.name}, which is not installed: pip install 'flagsmith-warehouse[object-storage]'"
        ) from None
    return obstore
