"""Removes a person from the inbox, the landing, every model and the published copy, and from their files.

Deleted rows stay in a file's unused pages, so the files are rewritten. In the end, no file in the warehouse's folder
contains the old bytes. If the command is killed at any moment, nothing comes back, because the tombstone is written
first; erasing again does the rest.
"""

import contextlib
import functools
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

import duckdb

from flagsmith_warehouse.loader import LoaderError
from flagsmith_warehouse.loader.filesystem import close_to_others
from flagsmith_warehouse.loader.inbox import file as inbox_file
from flagsmith_warehouse.loader.inbox import reader
from flagsmith_warehouse.loader.inbox.landings import WAREHOUSE, Landings
from flagsmith_warehouse.loader.landing import batch as landing_batch
from flagsmith_warehouse.loader.landing import lake, persons, privacy
from flagsmith_warehouse.loader.landing import land as landing
from flagsmith_warehouse.loader.landing import schema as landing_schema
from flagsmith_warehouse.loader.landing.tombstones import Tombstones
from flagsmith_warehouse.loader.operations import places, publish, relations, status
from flagsmith_warehouse.loader.settings import PROJECT_FOLDER, Settings

# Bodies that may be about the person; Python decides whether they are. These are all bodies that do not begin like an evaluation,
# and evaluations that contain the name, or a backslash or a %, which may spell any letter.
CANDIDATES = """
select delivery_id, body_encoding, body from warehouse.landing.webhooks
where (environment = $environment or $environment is null)
    and (
        body_encoding = 'base64' or not starts_with(body, '{"flags": [')
        or contains(body, '\\') or contains(body, '%') or list_bool_or([contains(body, each) for each in cast($spellings as varchar[])])
    )
"""
COLUMNS = """
select schema_name, table_name, list(column_name) from duckdb_columns()
where database_name = current_database() and (schema_name, table_name) in
    (select (schema_name, table_name) from duckdb_tables())
group by all order by all
"""
TEXTS = """
select schema_name, table_name, list(column_name), bool_or(column_name = 'environment') from duckdb_columns()
where database_name = current_database() and not internal and data_type = 'VARCHAR' and schema_name <> 'landing'
group by all order by all
"""
# Columns of models that contain sentences. A model may keep a sentence longer than the landing keeps the body.
SENTENCES = ("body_excerpt", "changed_by", "description")


class EraseError(LoaderError):
    """Not everything has been erased. Erasing again does the rest."""


UNREAD_MAP = (
    "identity_map cannot be read ({error}), so only rows with this very name are erased. Put it in order, and erase the person's "
    "other identities too."
)


@dataclass(frozen=True)
class Names:
    """The names of a person: the identity, and its pseudonym under privacy rules. A persons.Person.

    `users`: what identity_map calls the person, under which experiments know it.
    """

    names: frozenset[str]
    users: frozenset[str] = frozenset()

    def is_called(self, name: str) -> bool:
        return name in self.names

    def stands_in(self, text: str, as_word: bool) -> bool:
        return any(
            not as_word or persons.is_word(text, start, start + len(name))
            for name in self.long_names()
            for start in _occurrences(name, text)
        )

    def long_names(self) -> list[str]:
        return sorted(name for name in self.names if len(name) >= persons.SHORTEST_LONG_NAME)

    def known_to(self, columns: list[str]) -> list[str]:
        """The names that a table with these columns may have in `identity`. (No column holds half a character.)"""
        known = self.names | self.users if "experiment_key" in columns else self.names
        return sorted(filter(is_utf8, known))

    def mapped(self, pairs: list[tuple[str, str]]) -> "Names":
        """These names, with those that (identity, user_id) pairs add: the identities of a user, and the user of an identity."""
        identities = {identity for identity, user in pairs if user in self.names}
        users = {user for identity, user in pairs if identity in self.names}
        return Names(self.names | identities, frozenset(users))

    def spellings(self) -> list[str]:
        """The spellings without a backslash or a % in which a body that begins like an evaluation may contain the names."""
        found = {name for name in self.names if is_utf8(name)}
        for name in filter(is_utf8, self.long_names()):
            in_json = json.dumps(name)[1:-1].encode()
            for text in (name.encode(), name.encode("utf-16-le"), name.encode("utf-16-be"), in_json):
                for spelled in persons.base64_of(text):
                    found |= {spelled, spelled.translate({43: 45, 47: 95})}
        return sorted(found)


def erase(
    settings: Settings,
    identity: str,
    environment: str | None = None,
    on_wait: Callable[[str], None] = lambda text: None,
) -> dict:
    """Erase an identity, in one environment or in all. Returns the receipt, which does not name it.

    Deliveries received from now on are landed again, so delete the identity in Flagsmith as well. Raises EraseError,
    LandingError, PublishError, StillHeld.
    """
    with publish.locked(settings, on_wait):
        is_published_from_spark = status.is_of_spark(status.last_refresh(settings))
        with _explained():
            receipt = _erase(settings, names_of(settings, identity), environment, on_wait)
        keep_receipt(settings, receipt)
        if is_published_from_spark:
            remove_published(settings)
            on_wait(
                "The marts are built on Spark. Their published copy has been removed. Run `flagsmith-warehouse erase --target spark` "
                "now: it erases the person there, and publishes again."
            )
        else:
            _publish(settings, on_wait)
            publish_elsewhere(settings, on_wait)
    return receipt


def preview(
    settings: Settings,
    identity: str,
    environment: str | None = None,
    on_wait: Callable[[str], None] = lambda text: None,
) -> dict:
    """The number of rows of each table that `erase` would delete. Changes nothing. Raises EraseError, StillHeld."""
    names = names_of(settings, identity)
    with publish.locked(settings, on_wait), _explained():
        rows, known = _inbox_rows(settings, names, environment, {}), set(settings.environments)
        still_in = []
        if settings.warehouse_file.exists():
            with landing_schema.open_warehouse(settings, on_wait) as warehouse:
                names = _mapped(warehouse, names, on_wait)
                progress = dict(warehouse.execute("from landing.inbox_progress").fetchall())
                rows = _inbox_rows(settings, names, environment, progress)
                known |= _environments(warehouse)
                warehouse.begin()
                try:
                    rows |= _delete(warehouse, names, environment)
                finally:
                    warehouse.rollback()
                still_in = _still_in(warehouse, names, environment)
    notes = _note(rows, environment, known, "Nothing was changed, and no tombstone was written.")
    if urls := [name for name in Landings(settings.inbox_dir).names() if name != WAREHOUSE]:
        notes["not_looked_through"] = urls  # that would have to read every file there
    return {
        "dry_run": True,
        "environment": environment,
        "rows_to_delete": rows,
        "still_in": still_in,
        **notes,
    }


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (duckdb.Error, sqlite3.Error, OSError, lake.LakeError) as error:
        raise EraseError(
            f"Erasing stopped: {error}. The tombstone keeps waiting deliveries about the person from being landed, but not everything is "
            "erased: run the same command again when the cause is gone."
        ) from error


def names_of(settings: Settings, identity: str) -> Names:
    with contextlib.suppress(UnicodeError):  # half a character, as a command line can contain
        identity = os.fsencode(identity).decode("utf-8", "surrogatepass")
    rules = privacy.read(settings.privacy_file, settings.privacy_key, settings.privacy_key_file)
    return Names(frozenset({identity, rules.pseudonym(identity)} if rules else {identity}))


def _mapped(warehouse: duckdb.DuckDBPyConnection, names: Names, on_wait: Callable[[str], None]) -> Names:
    """The names with those in identity_map."""
    identity_map = relations.read(warehouse).named("int_declared_identity_map")
    if identity_map is None:
        return names
    known = {"names": names.known_to([])}
    query = (
        f"select identity, user_id from {publish.name(identity_map.schema, identity_map.identifier)} "  # noqa: S608
        "where list_contains($names, identity) or list_contains($names, user_id)"
    )
    try:
        return names.mapped(warehouse.execute(query, known).fetchall())
    except duckdb.Error as error:
        on_wait(UNREAD_MAP.format(error=str(error).splitlines()[0]))
        return names


def _erase(settings: Settings, names: Names, environment: str | None, on_wait) -> dict:
    erased_at = datetime.now(UTC).replace(tzinfo=None)
    landings = Landings(settings.inbox_dir)
    urls = [name for name in landings.names() if name != WAREHOUSE]
    with landing_schema.open_warehouse(settings, on_wait) as warehouse:
        _remove_spilled(settings)
        names = _mapped(warehouse, names, on_wait)
        tombstones = Tombstones(warehouse)
        hashes = sorted(tombstones.add(name, environment, erased_at) for name in names.names)
        warehouse.execute("checkpoint")
        for url in urls:
            lake.put_tombstones(lake.Store(url, on_wait), warehouse)
        progress = dict(warehouse.execute("from landing.inbox_progress").fetchall())
    rows = _inbox_rows(settings, names, environment, progress)
    # Land into each landing that is fed; the last one empties the inbox.
    to_urls = [functools.partial(lake.land, settings, url, on_wait=on_wait) for url in urls]
    to_warehouse = [functools.partial(landing.land, settings, on_wait=on_wait)]
    for land in (*to_urls, *(to_warehouse if WAREHOUSE in landings.names() else ())):
        if unreadable := land().unreadable:
            raise EraseError("\n".join(unreadable) + "\nThis may be about the person, so correct it first.")
    _rewrite_inbox(settings)
    for url in urls:
        if found := lake.erase(settings, url, on_wait):
            rows[url] = found
    with landing_schema.open_warehouse(settings, on_wait) as warehouse:
        known = _environments(warehouse) | settings.environments
        with landing_schema.transaction(warehouse):
            rows |= _delete(warehouse, names, environment)
        still_in = _still_in(warehouse, names, environment)
    publish.rewrite_warehouse(settings)
    clean_records(settings, names)
    return {
        "erased_at": erased_at.replace(tzinfo=UTC).isoformat(),
        "environment": environment,
        "identity_hashes": hashes,
        "rows_deleted": rows,
        "still_in": still_in,
        **_note(
            rows,
            environment,
            known,
            "The tombstone stays: deliveries received up to now are not landed later.",
        ),
    }


def _note(rows: dict[str, int], environment: str | None, known: set[str], what_then: str) -> dict[str, str]:
    """A note for the receipt if nobody was found, because the command may have been mistyped."""
    if environment is not None and environment not in known:
        there_are = ", ".join(sorted(known)) or "none"
        note = f"Nobody was found: there is no environment {environment!r}, there are {there_are}."
    elif not rows:
        note = "Nobody was found: no delivery and no row has this identity."
    else:
        return {}
    return {"note": f"{note} {what_then}"}


def _environments(warehouse: duckdb.DuckDBPyConnection) -> set[str]:
    rows = warehouse.execute("select distinct environment from landing.webhooks").fetchall()
    return {environment for (environment,) in rows}


def _inbox_rows(
    settings: Settings, names: Names, environment: str | None, landed: dict[str, int]
) -> dict[str, int]:
    """How many deliveries about the person wait to be landed."""
    found = 0
    for path in inbox_file.files(settings.inbox_dir):
        # `land` will report a file that cannot be read.
        with contextlib.suppress(sqlite3.Error), reader.connect(path) as source:
            if not source or reader.format_of(source) > inbox_file.FORMAT:
                continue
            first, last = source.execute("select min(row_id), max(row_id) from deliveries").fetchone()
            first = max(first or 0, landed.get(path.name, 0) + 1)
            for _, _, where, _, _, body in reader.unread(source, first, last or 0):
                found += environment in (None, where) and persons.is_about(body, names)
    return {"inbox": found} if found else {}


def _publish(settings: Settings, on_wait: Callable[[str], None]) -> None:
    """Publish the remaining data. If that fails, remove the published copy, because it contains the person."""
    try:
        publish.publish(settings, on_wait)
    except publish.NothingToPublish:
        remove_published(settings)
    except publish.PublishError as error:
        raise without_copy(settings, error) from error


def without_copy(settings: Settings, error: publish.PublishError) -> EraseError:
    """What to say where the person is erased, but what is left cannot be published. The published copy is removed."""
    remove_published(settings)
    left = [f"\n{place} still has the person in it." for place in places.known(settings)]
    return EraseError(
        f"Everything {'else ' if left else ''}is erased, but {error}\nThe last published copy contained the person and "
        f"has been removed.{''.join(left)}"
    )


def remove_published(settings: Settings) -> None:
    """Remove the published copy, also where it is a link to another disk."""
    for file in {settings.published_file.resolve(), settings.published_file}:
        publish.remove(file)


def publish_elsewhere(settings: Settings, on_wait: Callable[[str], None]) -> None:
    """Publish what is left wherever `publish --to` has published. Raises EraseError with the places that have the person still."""
    for place in places.forget_missing(settings):
        on_wait(f"{place} is not there any more. What `publish --to` put into it may name the person.")
    left = []
    for place in places.known(settings):
        try:
            places.put(settings, place)
        except publish.PublishError as error:
            left.append(f"{place} still has the person in it: {error}")
    if left:
        raise EraseError("Everything else is erased, but\n" + "\n".join(left))


def _delete(warehouse: duckdb.DuckDBPyConnection, names: Names, environment: str | None) -> dict[str, int]:
    """Delete the person's rows from every table. Returns how many, by table. Daily counts name nobody and stay as they are."""
    tables = [(*place, columns) for place, columns in _models(warehouse).items()]
    warehouse.execute("create or replace temp table erased (delivery_id varchar)")
    found = {*_deliveries_of(warehouse, names, environment)}
    for schema, table, columns in tables:
        found |= {
            *_deliveries_in_sentences(warehouse, publish.name(schema, table), columns, names, environment)
        }
    if found:
        warehouse.execute("insert into erased select unnest(?)", [sorted(found)])
    deleted = {
        "landing.webhooks": _delete_where(warehouse, "landing.webhooks", "delivery_id in (from erased)")
    }
    for schema, table, columns in tables:
        if condition := _condition(warehouse, columns, environment):
            known = names.known_to(columns)
            deleted[f"{schema}.{table}"] = _delete_where(
                warehouse, publish.name(schema, table), condition, names=known, environment=environment
            )
    deleted |= _delete_unused_states(warehouse) | _delete_outcomes(warehouse)
    return {table: rows for table, rows in deleted.items() if rows}


def _models(warehouse: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], list[str]]:
    """The tables of our models, each with its columns."""
    ours = {
        (each.schema, each.identifier)
        for each in relations.read(warehouse).of("staging", "intermediate", "marts")
    }
    rows = warehouse.execute(COLUMNS).fetchall()
    return {(schema, table): columns for schema, table, columns in rows if (schema, table) in ours}


def _table(warehouse: duckdb.DuckDBPyConnection, model: str) -> str | None:
    """The table of one of our models, as written in SQL; None if it is not built."""
    relation = relations.read(warehouse).named(model)
    return publish.name(relation.schema, relation.identifier) if relation else None


def _deliveries_of(
    warehouse: duckdb.DuckDBPyConnection, names: Names, environment: str | None
) -> Iterator[str]:
    parameters = {"spellings": names.spellings(), "environment": environment}
    cursor = warehouse.cursor().execute(CANDIDATES, parameters)
    while batch := cursor.fetchmany(1_000):
        for delivery_id, encoding, body in batch:
            if persons.is_about(landing_batch.as_bytes(encoding, body), names):
                yield delivery_id


def _deliveries_in_sentences(
    warehouse: duckdb.DuckDBPyConnection,
    table: str,
    columns: list[str],
    names: Names,
    environment: str | None,
) -> Iterator[str]:
    """Deliveries that a sentence in a model connects with the person. Their bodies may be gone from the landing."""
    for column in {*SENTENCES}.intersection(columns) if {"delivery_id", "environment"} <= {*columns} else ():
        query = (
            f"select delivery_id, {column} from {table} where {column} is not null "  # noqa: S608
            "and (environment = $environment or $environment is null)"
        )
        for delivery_id, text in warehouse.execute(query, {"environment": environment}).fetchall():
            if persons.is_named_in(text, names, as_word=True):
                yield delivery_id


def _condition(
    warehouse: duckdb.DuckDBPyConnection, columns: list[str], environment: str | None
) -> str | None:
    """A condition for the rows of a model that are about the person; None if its columns cannot tell."""
    conditions = []
    if environment is None:
        here = "true"
    elif "environment" in columns:
        here = "environment = $environment"
    elif "experiment_key" in columns and (experiments := _table(warehouse, "dim_experiments")):
        here = (
            f"experiment_key in (select experiment_key from {experiments} where environment = $environment)"  # noqa: S608
        )
    else:
        here = None
    if "identity" in columns and here:
        conditions.append(f"(list_contains($names, identity) and {here})")
    if "delivery_id" in columns:
        conditions.append("delivery_id in (from erased)")
    return " or ".join(conditions) or None


def _delete_unused_states(warehouse: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Delete bodies, and sets of flags, segments and traits, that only the person had."""
    deleted = {}
    bodies = _table(warehouse, "stg_flagsmith__payloads")
    if bodies is None:
        return deleted
    deleted[bodies.replace('"', "")] = _delete_where(
        warehouse, bodies, "payload_hash not in (select payload_hash from landing.webhooks)"
    )
    warehouse.execute(
        f"update {bodies} as body set _delivery_id = landed.delivery_id from (select payload_hash, min(delivery_id) as "  # noqa: S608
        "delivery_id from landing.webhooks group by payload_hash) as landed "
        "where body.payload_hash = landed.payload_hash and body._delivery_id in (from erased)"
    )
    for what in ("flag", "segment", "trait"):
        table, column = _table(warehouse, f"int_{what}_set_elements"), f"{what}s_hash"
        if table:
            # Retention may have pruned the bodies of some states.
            used = " union all ".join(
                f"select {column} from {name} where {column} is not null"  # noqa: S608
                for name in filter(None, (bodies, _table(warehouse, "int_state_spells")))
            )
            deleted[table.replace('"', "")] = _delete_where(warehouse, table, f"{column} not in ({used})")
    return deleted


def _delete_outcomes(warehouse: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Delete what was counted for identities that are gone: these models know them by number only."""
    models = _models(warehouse)
    numbers = " union all ".join(
        f"select identity_number from {publish.name(*place)} where identity_number is not null"  # noqa: S608
        for place, columns in models.items()
        if {"identity", "identity_number"} <= set(columns)
    )
    return {
        f"{schema}.{table}": _delete_where(
            warehouse, publish.name(schema, table), f"identity_number not in ({numbers})"
        )
        for (schema, table), columns in models.items()
        if numbers and "identity_number" in columns and "identity" not in columns
    }


def _delete_where(warehouse: duckdb.DuckDBPyConnection, table: str, condition: str, **parameters) -> int:
    used = {name: value for name, value in parameters.items() if f"${name}" in condition}
    return warehouse.execute(f"delete from {table} where {condition}", used).fetchone()[0]  # noqa: S608


def _rewrite_inbox(settings: Settings) -> None:
    """Overwrite deleted rows in the inbox files. Living workers keep their files."""
    if not Landings(settings.inbox_dir).rewrite():
        raise EraseError(f"{settings.inbox_dir} is too busy to be rewritten; run the same command again.")
    for path in inbox_file.files(settings.inbox_dir):
        with reader.connect(path) as connection:
            if connection:
                connection.execute("vacuum")
                busy, *_ = connection.execute("pragma wal_checkpoint(truncate)").fetchone()
                if busy:
                    raise EraseError(f"{path} is too busy to be rewritten; run the same command again.")


def _remove_spilled(settings: Settings) -> None:
    """Remove files that killed processes left on disk. The caller has the warehouse open, so nobody else uses them."""
    for file in (settings.warehouse_file, settings.published_file):
        for each in {file, file.resolve()}:
            publish.remove_spilled(each)


def clean_records(settings: Settings, names: Names) -> None:
    """Remove lines that name the person from logs, and the error from the record of the last refresh if it names them."""
    record = settings.refresh_record
    of_dbt = (settings.project_dir or PROJECT_FOLDER) / "logs"
    logs = [*of_dbt.glob("*.log*"), *settings.warehouse_dir.rglob("*.log*")]
    for path in (record, *logs):
        if path.is_file() and _names_person(content := path.read_bytes(), names):
            kept = [line for line in content.splitlines(keepends=True) if not _names_person(line, names)]
            path.write_bytes(_without_error(content) if path == record else b"".join(kept))


def _without_error(record: bytes) -> bytes:
    """The record without its error. Empty if it is not a valid record; the next refresh writes a new one."""
    try:
        return json.dumps(
            {**json.loads(record), "error": "withheld, as it named a person who was erased"}
        ).encode()
    except (ValueError, TypeError, RecursionError):
        return b""


def _names_person(content: bytes, names: Names) -> bool:
    """True if a line of a log names the person. A short name occurs in many lines by chance, so it counts only in quotes."""
    longs = [name for name in names.long_names() if is_utf8(name)]
    shorts = [f'"{name}"' for name in names.names - {*longs}] + [
        f"'{name}'" for name in names.names - {*longs}
    ]
    texts = {*longs, *filter(is_utf8, shorts)}
    spellings = texts | {json.dumps(text)[1:-1] for text in texts} | {quote(text, safe="") for text in texts}
    return any(spelling.encode() in content for spelling in spellings)


def _still_in(warehouse: duckdb.DuckDBPyConnection, names: Names, environment: str | None) -> list[str]:
    """Relations that people fill themselves and that have the identity in a column. Only those people can remove it."""
    known, found = [name for name in names.names if is_utf8(name)], []
    models = {path.stem for path in (PROJECT_FOLDER / "models").rglob("*.sql")}
    ours = {
        (each.schema, each.identifier)
        for each in relations.read(warehouse).of("staging", "intermediate", "marts")
        if each.name in models
    }
    deleted_from = {
        place for place, columns in _models(warehouse).items() if _condition(warehouse, columns, environment)
    }
    for schema, table, columns, has_environment in warehouse.execute(TEXTS).fetchall():
        if (schema, table) in ours | deleted_from:
            continue
        relation = f"{schema}.{publish.name(table)}"
        is_named = " or ".join(f"list_contains($names, {publish.name(column)})" for column in columns)
        is_here = (
            "(environment = $environment or $environment is null)"
            if has_environment
            else "$environment is null or true"
        )
        query = f"select count(*) from {publish.name(schema, table)} where ({is_named}) and ({is_here})"  # noqa: S608
        try:
            if warehouse.execute(query, {"names": known, "environment": environment}).fetchone()[0]:
                found.append(relation)
        except duckdb.Error:
            found.append(f"{relation} (could not be read)")
    return found


def _occurrences(name: str, text: str) -> Iterator[int]:
    start = text.find(name)
    while start >= 0:
        yield start
        start = text.find(name, start + 1)


def is_utf8(name: str) -> bool:
    """Whether it is text: False if the text contains half a character: no column can hold it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def keep_receipt(settings: Settings, receipt: dict) -> None:
    with settings.receipts_file.open("a", encoding="utf-8") as file:
        file.write(json.dumps(receipt) + "\n")
    close_to_others(settings.receipts_file)
