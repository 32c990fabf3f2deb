"""Finds what a build may leave out if only deliveries are new: our models that read none, and tests of what has not changed.

dbt needs 20 to 60 ms of processor for each model and test, more than the work itself. A complete build therefore records
which models to leave out and the compiled SQL of our tests. The tests then run without dbt, on the rows of the new deliveries
and of their identities. A complete build, once a day, tests all rows.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from flagsmith_warehouse.loader.operations import alerts, dbt, unchanged
from flagsmith_warehouse.loader.operations.publish import beside, in_memory, name

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

    from flagsmith_warehouse.loader.operations.refresh import Built

DECLARED = "int_declared_experiments"
# The folders of models that compute experiments. Without a declared experiment, deliveries change none of them.
OF_EXPERIMENTS = {"experiments", "experiment_results"}
# A test with other settings is left to dbt.
USUAL = {
    "fail_calc": "count(*)",
    "warn_if": "!= 0",
    "error_if": "!= 0",
    "limit": None,
    "store_failures": None,
}
# The deliveries of the newest build, and whatever was landed since the build before.
NEW = """
create table memory.additions.deliveries as
with newest as (select max(_build_number) as number from everything.{staged})
select delivery_id, payload_hash from everything.{staged} where _build_number = (from newest)
union
select delivery_id, payload_hash from everything.{landing} where landed_at > (
    select max(landed_at) from everything.{staged} where _build_number < (from newest)
)
"""
IDENTITIES = """
create table memory.additions.identities as
select distinct environment, identity from everything.{deliveries}
where delivery_id in (select delivery_id from memory.additions.deliveries)
"""
# The rows to look at, by columns that a table has: the first line that fits. Tables with none of them are looked at whole.
ROWS = (
    (("delivery_id",), "select delivery_id from memory.additions.deliveries"),
    (("payload_hash",), "select payload_hash from memory.additions.deliveries"),
    (("environment", "identity"), "select (environment, identity) from memory.additions.identities"),
)
COLUMNS = """
select table_schema, table_name, list(column_name) from information_schema.columns
where table_catalog = 'everything' group by all
"""


@dataclass(frozen=True)
class Found:
    """A test that found rows."""

    test: str
    severity: str
    rows: int


def plan(manifest: "Manifest", built: "Built", warehouse_file: Path, known: dict) -> dict | None:
    """What to leave out, and the tests to run instead, as JSON. None if dbt must do it all.

    `built`: the outcome of a complete build. `known`: the project's vars.
    """
    models = _our_models(manifest)
    # Retention deletes at the end of dbt's run, so all tests must have run by then.
    if known.get("retention_days") is not None or _declares_in_a_model(manifest, known):
        return None
    tests = [
        result.node
        for result in built.results()
        if result.node.resource_type == "test" and result.node.package_name == dbt.PACKAGE
    ]
    if not tests or f"model.{dbt.PACKAGE}.{DECLARED}" not in models or not all(map(_is_usual, tests)):
        return None
    reading = _reading_deliveries(manifest)
    has_experiments = _has_experiments(models[f"model.{dbt.PACKAGE}.{DECLARED}"], warehouse_file)
    left_out = {
        key
        for key, node in models.items()
        if key not in reading or (not has_experiments and OF_EXPERIMENTS & set(node.fqn))
    }
    return {
        "leave_out": _folders_of(models, left_out),
        "staged": _place(models[f"model.{dbt.PACKAGE}.stg_flagsmith__deliveries"]),
        "deliveries": _place(models[f"model.{dbt.PACKAGE}.int_deliveries"]),
        "landing": _place(next(_landing(manifest))),
        "tests": [
            {"name": test.name, "severity": str(test.config.severity).lower(), "sql": test.compiled_code}
            for test in tests
            if not left_out.issuperset(set(test.depends_on.nodes) & set(models))
            and test.name not in (*alerts.CHECKS, alerts.OF_DECLARATIONS)
        ],
    }


def left_out(planned: dict) -> list[str]:
    """What `dbt build` is to leave out."""
    return [f"package:{dbt.PACKAGE},resource_type:test", *planned["leave_out"]]


def run_tests(warehouse_file: Path, planned: dict) -> list[Found]:
    """The tests that find something in the rows of the newest build. The caller holds the lock of the warehouse.

    Raises duckdb.Error if a test cannot be run.
    """
    found = []
    with contextlib.closing(_narrowed(warehouse_file, planned)) as connection:
        for test in planned["tests"]:
            (rows,) = connection.execute(f"select count(*) from ({test['sql']}\n)").fetchone()  # noqa: S608
            if rows:
                found.append(Found(test["name"], test["severity"], rows))
    return found


def _narrowed(warehouse_file: Path, planned: dict) -> duckdb.DuckDBPyConnection:
    """A database in memory that looks like the warehouse, and has only the rows that new deliveries may have changed."""
    connection = in_memory(beside(warehouse_file).with_suffix(".spill"))
    connection.execute("attach ? as everything (read_only)", [str(warehouse_file)])
    connection.execute("attach ':memory:' as warehouse")
    connection.execute("create schema memory.additions")
    for statement in (NEW, IDENTITIES):
        connection.execute(statement.format(**planned))
    for schema, table, columns in connection.execute(COLUMNS).fetchall():
        connection.execute(f"create schema if not exists {name('warehouse', schema)}")
        chosen = _chosen(name("everything", schema, table), set(columns))
        # A view of the host's may read what is not there. A test of ours that reads it fails.
        with contextlib.suppress(duckdb.Error):
            connection.execute(f"create view {name('warehouse', schema, table)} as {chosen}")
    return connection


def _chosen(table: str, columns: set[str]) -> str:
    """The rows of the table that new deliveries may have changed, and all whose key is missing."""
    for key, rows in ROWS:
        if columns.issuperset(key):
            missing = " or ".join(f"{column} is null" for column in key)
            return f"from {table} where ({', '.join(key)}) in ({rows}) union all from {table} where {missing}"
    return f"from {table}"


def _our_models(manifest: "Manifest") -> dict:
    return {
        key: node
        for key, node in manifest.nodes.items()
        if node.resource_type == "model" and node.package_name == dbt.PACKAGE
    }


def _declares_in_a_model(manifest: "Manifest", known: dict) -> bool:
    """True if a var names a model or snapshot, which deliveries may change."""
    built = {
        (node.schema.lower(), node.alias.lower())
        for node in manifest.nodes.values()
        if node.resource_type in ("model", "snapshot")
    }
    return any(tuple(place.lower().split(".")[-2:]) in built for place in unchanged.relations(known))


def _folders_of(models: dict, left_out: set[str]) -> list[str]:
    """The models to leave out, by folders of which nothing else is built: dbt takes 20 ms for each name that it looks for."""
    folders_built = {
        tuple(node.fqn[:depth])
        for key, node in models.items()
        if key not in left_out
        for depth in range(len(node.fqn) + 1)
    }
    names = set()
    for key in left_out:
        fqn = models[key].fqn
        depth = next(depth for depth in range(len(fqn) + 1) if tuple(fqn[:depth]) not in folders_built)
        names.add(".".join(fqn[:depth]))
    return sorted(names)


def _landing(manifest: "Manifest") -> Iterator:
    return (source for source in manifest.sources.values() if source.package_name == dbt.PACKAGE)


def _reading_deliveries(manifest: "Manifest") -> set[str]:
    """The nodes that read the landing, directly or through others."""
    found, unseen = set(), [source.unique_id for source in _landing(manifest)]
    children: dict[str, set[str]] = {}
    for key, node in manifest.nodes.items():
        for parent in getattr(node.depends_on, "nodes", ()):  # seeds depend on nothing
            children.setdefault(parent, set()).add(key)
    while unseen:
        below = children.get(unseen.pop(), set()) - found
        found |= below
        unseen.extend(below)
    return found


def _has_experiments(declared, warehouse_file: Path) -> bool:
    with duckdb.connect(warehouse_file, read_only=True) as warehouse:
        return bool(warehouse.execute(f"from {_place(declared)} limit 1").fetchall())


def _is_usual(test) -> bool:
    return bool(test.compiled_code) and all(
        getattr(test.config, key) == value for key, value in USUAL.items()
    )


def _place(node) -> str:
    return name(node.schema, getattr(node, "identifier", None) or node.alias)
