"""Forget a person: from the inbox, the landing, every model and the published copy, and from their files.

Rows that are deleted stay in a file's unused pages, so the files are written anew. In the end the old bytes are
in no file of the warehouse's folder. Killed at any moment: the tombstone is there first, so nothing comes back,
and erasing again does the rest.
"""

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from loader import LoaderError, inbox, landing, lock, privacy, publish
from loader.filesystem import close_to_others
from loader.settings import Settings
from loader.tombstones import Tombstones, identities_in

MODELS = ("staging", "intermediate", "marts")
# Bodies that may be about the person; whether they are, Python says. A backslash may spell any letter.
CANDIDATES = """
select delivery_id, environment, body_encoding, body from warehouse.landing.webhooks
where (environment = $environment or $environment is null)
    and (contains(body, $identity) or contains(body, '\\') or body_encoding = 'base64')
"""
COLUMNS = """
select schema_name, table_name, list(column_name) from duckdb_columns()
where database_name = current_database() and (schema_name, table_name) in
    (select (schema_name, table_name) from duckdb_tables())
group by all order by all
"""


class EraseError(LoaderError):
    """Not everything is erased yet. Erasing again does the rest."""


def erase(
    settings: Settings,
    identity: str,
    environment: str | None = None,
    on_wait: Callable[[str], None] = lambda text: None,
) -> dict:
    """Erase an identity, in one environment or in all; the receipt, which does not name it.

    What is received of it from now on is landed again: delete it in Flagsmith as well. Raises EraseError,
    LandingError, PublishError, StillHeld.
    """
    with (
        lock.hold(settings.refresh_lock, settings.lock_timeout_seconds, on_wait),
        lock.hold(settings.warehouse_lock, settings.lock_timeout_seconds, on_wait),
    ):
        try:
            receipt = _erase(settings, _names(settings, identity), environment, on_wait)
        except (duckdb.Error, sqlite3.Error, OSError) as error:
            raise EraseError(
                f"Erasing stopped: {error}. A tombstone keeps what was not landed away, but not everything is "
                "erased: run the same command again when the cause is gone."
            ) from error
        _keep_receipt(settings, receipt)
    return receipt


def _names(settings: Settings, identity: str) -> set[str]:
    """The identity, and what stands for it where rules of privacy have been applied."""
    rules = privacy.read(settings.privacy_file, settings.privacy_key)
    return {identity, rules.pseudonym(identity)} if rules else {identity}


def _erase(settings: Settings, names: set[str], environment: str | None, on_wait) -> dict:
    erased_at = datetime.now(UTC).replace(tzinfo=None)
    with landing.open_warehouse(settings, on_wait) as warehouse:
        tombstones = Tombstones(warehouse)
        hashes = sorted(tombstones.add(name, environment, erased_at) for name in names)
        warehouse.execute("checkpoint")
    landed = landing.land(settings, on_wait=on_wait)
    if landed.unreadable:
        raise EraseError(
            "\n".join(landed.unreadable) + "\nWhat is in it may be about the person, so first see to that."
        )
    _rewrite_inbox(settings)
    with landing.open_warehouse(settings, on_wait) as warehouse, landing.transaction(warehouse):
        rows = _delete(warehouse, names, environment)
    _rewrite_warehouse(settings)
    with contextlib.suppress(publish.PublishError):
        _remove(settings.published_file)  # also where there are no marts to publish
        publish.publish(settings, on_wait)
    return {
        "erased_at": erased_at.replace(tzinfo=UTC).isoformat(),
        "environment": environment,
        "identity_hashes": hashes,
        "rows_deleted": rows,
        "declared_in": _declared(settings, names),
    }


def _delete(warehouse: duckdb.DuckDBPyConnection, names: set[str], environment: str | None) -> dict[str, int]:
    """The person's rows from every table; how many, by table. Daily counts name nobody, and stay as they are."""
    warehouse.execute("create or replace temp table erased (delivery_id varchar)")
    for name in names:
        found = [[delivery_id] for delivery_id in _deliveries_of(warehouse, name, environment)]
        if found:
            warehouse.executemany("insert into erased values (?)", found)
    deleted = {
        "landing.webhooks": _delete_where(warehouse, "landing.webhooks", "delivery_id in (from erased)")
    }
    for schema, table, columns in warehouse.execute(COLUMNS).fetchall():
        if schema in MODELS and (condition := _condition(columns, environment)):
            deleted[f"{schema}.{table}"] = _delete_where(
                warehouse, f'{schema}."{table}"', condition, names=list(names), environment=environment
            )
    deleted |= _delete_unused_states(warehouse)
    return {table: rows for table, rows in deleted.items() if rows}


def _deliveries_of(
    warehouse: duckdb.DuckDBPyConnection, identity: str, environment: str | None
) -> Iterable[str]:
    parameters = {"identity": identity, "environment": environment}
    cursor = warehouse.cursor().execute(CANDIDATES, parameters)
    while batch := cursor.fetchmany(1_000):
        for delivery_id, _, encoding, body in batch:
            if identity in identities_in(landing.as_bytes(encoding, body)):
                yield delivery_id


def _condition(columns: list[str], environment: str | None) -> str | None:
    """Which rows of a model are about the person: by the columns it has."""
    conditions = []
    if environment is None:
        here = "true"
    elif "environment" in columns:
        here = "environment = $environment"
    elif "experiment_key" in columns:
        here = "experiment_key in (select experiment_key from marts.dim_experiments where environment = $environment)"
    else:
        here = None
    if "identity" in columns and here:
        conditions.append(f"(list_contains($names, identity) and {here})")
    if "delivery_id" in columns:
        conditions.append("delivery_id in (from erased)")
    return " or ".join(conditions) or None


def _delete_unused_states(warehouse: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Bodies, and sets of flags, segments and traits, that only the person had."""
    deleted = {}
    bodies = "staging.stg_flagsmith__payloads"
    if not _exists(warehouse, bodies):
        return deleted
    deleted[bodies] = _delete_where(
        warehouse, bodies, "payload_hash not in (select payload_hash from landing.webhooks)"
    )
    warehouse.execute(
        f"update {bodies} as body set _delivery_id = landed.delivery_id from (select payload_hash, min(delivery_id) as "  # noqa: S608
        "delivery_id from landing.webhooks group by payload_hash) as landed "
        "where body.payload_hash = landed.payload_hash and body._delivery_id in (from erased)"
    )
    for what in ("flag", "segment", "trait"):
        table, column = f"intermediate.int_{what}_set_elements", f"{what}s_hash"
        if _exists(warehouse, table):
            # After retention has pruned, there are states whose bodies are gone.
            relations = filter(
                lambda name: _exists(warehouse, name), (bodies, "intermediate.int_state_spells")
            )
            used = " union all ".join(
                f"select {column} from {name} where {column} is not null"  # noqa: S608
                for name in relations
            )
            deleted[table] = _delete_where(warehouse, table, f"{column} not in ({used})")
    return deleted


def _delete_where(warehouse: duckdb.DuckDBPyConnection, table: str, condition: str, **parameters) -> int:
    used = {name: value for name, value in parameters.items() if f"${name}" in condition}
    return warehouse.execute(f"delete from {table} where {condition}", used).fetchone()[0]  # noqa: S608


def _exists(warehouse: duckdb.DuckDBPyConnection, table: str) -> bool:
    schema, name = table.split(".")
    query = "select count(*) from duckdb_tables() where schema_name = ? and table_name = ?"
    return warehouse.execute(query, [schema, name]).fetchone()[0] > 0


def _rewrite_inbox(settings: Settings) -> None:
    """Living workers keep their files; what was deleted in these is overwritten."""
    for path in inbox.files(settings.inbox_dir):
        with inbox.connect(path) as connection:
            if connection:
                connection.execute("vacuum")
                busy, *_ = connection.execute("pragma wal_checkpoint(truncate)").fetchone()
                if busy:
                    raise EraseError(f"{path} is too busy to be written anew; run the same command again.")


def _rewrite_warehouse(settings: Settings) -> None:
    """Table by table into a new file, which then takes the place of the old one."""
    fresh = settings.warehouse_file.with_suffix(".unfinished")
    _remove(fresh)
    with contextlib.closing(publish.in_memory(fresh.with_suffix(".spill"))) as connection:
        connection.execute(f"attach {publish.text(str(settings.warehouse_file))} as warehouse")
        connection.execute(f"attach {publish.text(str(fresh))} as fresh")
        connection.execute("copy from database warehouse to fresh")
        connection.execute("checkpoint fresh")
    publish.replace(settings.warehouse_file, fresh)


def _remove(path: Path) -> None:
    for each in (path, Path(f"{path}.wal")):
        each.unlink(missing_ok=True)


def _declared(settings: Settings, names: set[str]) -> list[str]:
    """Tables that people fill themselves and that name the identity: only they can take it out there."""
    with duckdb.connect(settings.warehouse_file, read_only=True) as warehouse:
        seeds = [
            f'seeds."{table}"'
            for schema, table, columns in warehouse.execute(COLUMNS).fetchall()
            if schema == "seeds" and "identity" in columns
        ]
        query = "select count(*) from {} where list_contains(?, identity)"
        return [seed for seed in seeds if warehouse.execute(query.format(seed), [list(names)]).fetchone()[0]]


def _keep_receipt(settings: Settings, receipt: dict) -> None:
    with settings.receipts_file.open("a", encoding="utf-8") as file:
        file.write(json.dumps(receipt) + "\n")
    close_to_others(settings.receipts_file)
