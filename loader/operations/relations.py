"""Finds our models and seeds in a warehouse. A host project may choose the schemas, so dbt's manifest decides.

Every run of dbt writes the places to the table `dbt_relations` (macros/engine/record_relations.sql). A warehouse of an earlier
release has no such table; there the plain names apply.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from flagsmith_warehouse.loader.operations.dbt import PACKAGE

RECORD = """
create table if not exists dbt_relations (schema_name varchar, identifier varchar, layer varchar, name varchar)
"""
LAYERS = ("seeds", "staging", "intermediate", "marts")
PLACES = "select schema_name from duckdb_tables() where database_name = ? and table_name = 'dbt_relations'"
EXISTING = """
select schema_name, table_name, comment from duckdb_tables() where database_name = $database
union all
select schema_name, view_name, comment from duckdb_views() where database_name = $database and not internal
order by all
"""


def rows_of(found: duckdb.DuckDBPyConnection) -> list[dict[str, object]]:
    """The rows that a connection has found, each as {column: value}."""
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


@dataclass(frozen=True)
class Relation:
    """A table or view of a warehouse. `layer`: seeds, staging, intermediate or marts for ours, `own` for the host's."""

    layer: str
    name: str
    schema: str
    identifier: str
    comment: str | None = None


@dataclass(frozen=True)
class Relations:
    """The relations that exist. If a schema contains no model of the host, the schema and everything in it is ours."""

    recorded: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    existing: tuple[tuple[str, str, str | None], ...] = ()

    def __iter__(self) -> Iterator[Relation]:
        """All relations of ours and of the host's project, by schema and name."""
        schemas = self._schemas()
        for schema, identifier, comment in self.existing:
            if (schema, identifier) in self.recorded:
                layer, name = self.recorded[schema, identifier]
            elif schema in schemas:
                layer, name = schemas[schema], identifier
            else:
                continue
            yield Relation(layer, name, schema, identifier, comment)

    def of(self, *layers: str) -> list[Relation]:
        return [relation for relation in self if relation.layer in layers]

    def named(self, name: str) -> Relation | None:
        """The relation of our model or seed with that name, if it is built."""
        return next((each for each in self if each.name == name and each.layer in LAYERS), None)

    def _schemas(self) -> dict[str, str]:
        """The layer of each schema that is entirely ours."""
        if not self.recorded:
            return {layer: layer for layer in LAYERS}
        layers: dict[str, set[str]] = {}
        for (schema, _), (layer, _) in self.recorded.items():
            layers.setdefault(schema, set()).add(layer)
        return {
            schema: found.pop() for schema, found in layers.items() if len(found) == 1 and "own" not in found
        }


def read(connection: duckdb.DuckDBPyConnection, database: str = "warehouse") -> Relations:
    """The relations of an attached warehouse."""
    recorded = {}
    for (schema,) in connection.execute(PLACES, [database]).fetchall():
        query = f'select schema_name, identifier, layer, name from "{database}"."{schema}".dbt_relations'  # noqa: S608
        recorded |= {(row[0], row[1]): (row[2], row[3]) for row in connection.execute(query).fetchall()}
    existing = connection.execute(EXISTING, {"database": database}).fetchall()
    return Relations(recorded, tuple(existing))


def copy_record(connection: duckdb.DuckDBPyConnection, published: list[Relation]) -> None:
    """Record in the copy where our marts are, for readers, if their schema is not called `marts`."""
    if all(each.schema == each.layer for each in published if each.layer != "own"):
        return
    connection.execute("create schema if not exists published.landing")
    connection.execute(RECORD.replace("dbt_relations", "published.landing.dbt_relations"))
    connection.executemany(
        "insert into published.landing.dbt_relations values (?, ?, ?, ?)",
        [(each.schema, each.identifier, each.layer, each.name) for each in published],
    )


def open_copy(file: Path) -> duckdb.DuckDBPyConnection:
    """Open the published copy, or a warehouse, to read. Our marts are in `marts` and our seeds in `seeds`, whatever the file calls them."""
    connection = duckdb.connect(file, read_only=True)
    try:
        (database,) = connection.execute("select current_database()").fetchone()
        there = read(connection, database).of("marts", "seeds")
        if all(each.schema == each.layer for each in there):
            return connection
    except BaseException:
        connection.close()
        raise
    connection.close()
    connection = duckdb.connect()
    connection.execute(f"attach '{str(file).replace(chr(39), chr(39) * 2)}' as copy (read_only)")
    for layer in ("marts", "seeds"):
        connection.execute(f"create schema {layer}")
    for each in there:
        source, target = _name("copy", each.schema, each.identifier), _name(each.layer, each.name)
        connection.execute(f"create view {target} as from {source}")
    return connection


def _name(*parts: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def schema_of(manifest, name: str) -> str:
    """The schema that one of our models or seeds will get."""
    nodes = manifest.nodes
    return next(
        nodes[key].schema for key in (f"model.{PACKAGE}.{name}", f"seed.{PACKAGE}.{name}") if key in nodes
    )
