"""Compares the marts that dbt built with those computed in plain Python."""

import json

from .reference import MARTS
from .reference import Warehouse as Reference
from .warehouse import Warehouse


def assert_marts_equal(warehouse: Warehouse, expected: Reference, without: tuple[str, ...] = ()) -> None:
    """Compare every mart row for row, in the columns that the reference has. Raises AssertionError with examples.

    without: environments of the warehouse that the reference does not know.
    """
    for mart, key in MARTS.items():
        wanted = {tuple(row[column] for column in key): row for row in getattr(expected, mart)()}
        rows = [_readable(row) for row in warehouse.mart(mart) if row["environment"] not in without]
        built = {tuple(row[column] for column in key): row for row in rows}
        assert len(rows) == len(built), f"{mart} has several rows of one key"
        assert wanted.keys() - built.keys() == set(), f"{mart} lacks rows"
        assert built.keys() - wanted.keys() == set(), f"{mart} has rows it should not have"
        for identifier, row in wanted.items():
            differing = {c: (row[c], built[identifier][c]) for c in row if row[c] != built[identifier][c]}
            assert not differing, f"{mart} {identifier}: (expected, built) {differing}"


def _readable(row: dict) -> dict:
    return {**row, "traits": json.loads(row["traits"])} if isinstance(row.get("traits"), str) else row


def everything(warehouse: Warehouse) -> dict[str, list]:
    """Return all rows of all models, without bookkeeping (columns that begin with an underscore), in one order."""
    tables = warehouse.query(
        "select schema_name, table_name from duckdb_tables() where schema_name in ('staging', 'intermediate', 'marts')"
        " and table_name <> 'build_progress'"
    )
    return {
        table["table_name"]: sorted(
            repr({k: v for k, v in row.items() if not k.startswith("_")})
            for row in warehouse.mart(table["table_name"], table["schema_name"])
        )
        for table in tables
    }
