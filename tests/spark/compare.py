"""Are the marts that Spark has built those that DuckDB has built of the same deliveries? Row by row."""

import json
import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import duckdb

# Sums of floats depend on their order.
RELATIVE = 1e-9
# Texts of JSON: members in any order are one value.
JSON_COLUMNS = {"traits", "old_weights", "new_weights"}
# The columns and the rows of a mart, by its name, or by schema and name.
Read = Callable[[str], tuple[list[str], list[dict]]]


def of_session(session) -> Read:
    """Reads what the Spark session has built."""

    def read(mart: str) -> tuple[list[str], list[dict]]:
        table = session.table(_in_marts(mart))
        return table.columns, [row.asDict(recursive=True) for row in table.collect()]

    return read


def of_file(connection: duckdb.DuckDBPyConnection) -> Read:
    """Reads a DuckDB file."""

    def read(mart: str) -> tuple[list[str], list[dict]]:
        cursor = connection.execute(f"select * from {_in_marts(mart)}")  # a name from the test
        names = [column[0] for column in cursor.description]
        return names, [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    return read


def _in_marts(mart: str) -> str:
    return mart if "." in mart else f"marts.{mart}"


def differences(expected: Read, built: Read, marts: Iterable[str], examples: int = 3) -> list[str]:
    """What differs, a line each; nothing if all marts are equal. `expected` is DuckDB's, `built` Spark's."""
    lines = []
    for mart in marts:
        (names, right), (others, found) = expected(mart), built(mart)
        names, others = ([name for name in each if name[0] != "_"] for each in (names, others))
        if missing := set(names) ^ set(others):
            lines.append(f"{mart}: columns in one of the two only: {', '.join(sorted(missing))}")
            continue
        lines += unequal_rows(
            mart, *(sorted(_rows(rows, names), key=_order) for rows in (right, found)), examples
        )
    return lines


def unequal_rows(mart: str, expected: list[tuple], built: list[tuple], examples: int) -> list[str]:
    """The rows of one that have no equal in the other. Both are in order; floats may differ in the last digits."""
    if len(expected) == len(built) and all(map(_are_equal, expected, built)):
        return []
    only = [row for row in expected if not any(_are_equal(row, other) for other in built)]
    surplus = [row for row in built if not any(_are_equal(row, other) for other in expected)]
    return [
        f"{mart}: {len(expected):,} rows on DuckDB, {len(built):,} on Spark",
        *(f"    only on DuckDB: {row}" for row in only[:examples]),
        *(f"    only on Spark:  {row}" for row in surplus[:examples]),
    ]


def _rows(rows: list[dict], names: list[str]) -> list[tuple]:
    return [
        tuple(
            json.loads(row[n]) if n in JSON_COLUMNS and row[n] is not None else _naive(row[n]) for n in names
        )
        for row in rows
    ]


def _naive(value):
    """A time in UTC without its zone: Spark has one kind of timestamp, DuckDB two."""
    return (
        value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) and value.tzinfo else value
    )


def _order(row: tuple) -> str:
    """Without floats, which may differ."""
    return repr([value for value in row if not isinstance(value, float)])


def _are_equal(row: tuple, other: tuple) -> bool:
    return len(row) == len(other) and all(map(_is_same, row, other))


def _is_same(value, other) -> bool:
    if isinstance(value, float) and isinstance(other, float):
        return math.isclose(value, other, rel_tol=RELATIVE) or (math.isnan(value) and math.isnan(other))
    return value == other and (value is None) == (other is None)
