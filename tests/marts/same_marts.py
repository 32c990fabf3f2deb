"""Checks that two versions of the models make the same marts from the same landing.

`python -m tests.marts.same_marts REVISION` builds the models of REVISION (a tag, branch or commit of this repository) and
those of the working tree, each from the same simulated month and the captured requests, in three parts with an increment
each. It prints every mart that differs, with examples, and exits with 1 if one does.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import duckdb

from flagsmith_warehouse.simulator.example import MONTH
from flagsmith_warehouse.simulator.landing import append
from flagsmith_warehouse.simulator.world import World

PROJECT = Path(__file__).parents[2]
CAPTURED = PROJECT / "tests" / "fixtures" / "captured" / "flagsmith_2_265_0.ndjson"
PARTS = 3
# Columns with sentences for people may be reworded.
SENTENCES = {"message", "problem", "remedy", "rule_text"}
EXAMPLES = 3


class Request(NamedTuple):
    """A captured request, with the attributes that the simulator's landing needs."""

    environment: str
    received_at: datetime
    body: bytes


def captured() -> Iterator[Request]:
    """The captured requests, a second apart."""
    for number, line in enumerate(CAPTURED.read_text().splitlines()):
        body = json.loads(line)["body"].encode()
        yield Request("captured", datetime(2026, 9, 1) + timedelta(seconds=number), body)


def build(project: Path, directory: Path) -> None:
    """Land all parts into `directory`, each followed by a run of the models of `project`. Raises CalledProcessError."""
    directory.mkdir()
    world, requests = iter(World(MONTH).deliveries()), captured()
    environment = {**os.environ, "FLAGSMITH_WAREHOUSE_DIR": str(directory), "DBT_LOG_PATH": str(directory)}
    environment["DBT_TARGET_PATH"] = str(directory / "target")
    dbt = [str(Path(sys.executable).with_name("dbt")), "--quiet"]
    where = ["--project-dir", str(project), "--profiles-dir", str(project)]
    for part in range(1, PARTS + 1):
        landed_at = datetime(2027, 1, part)
        for deliveries, size in ((world, MONTH.deliveries), (requests, 126)):
            some = islice(deliveries, size // PARTS + 1)
            append(directory / "warehouse.duckdb", some, landed_at)
        for command in (["seed"], ["run"])[part > 1 :]:
            subprocess.run([*dbt, *command, *where], env=environment, check=True)


def tables(connection: duckdb.DuckDBPyConnection, database: str) -> dict[str, dict[str, str]]:
    """The marts of an attached warehouse: for each, the type of each column that is compared."""
    rows = connection.execute(
        "select table_name, column_name, data_type from duckdb_columns() where database_name = ? and schema_name = 'marts'"
        " order by table_name, column_name",
        [database],
    ).fetchall()
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in rows:
        if column not in SENTENCES and not column.startswith("_"):
            found.setdefault(table, {})[column] = kind
    return found


def selected(columns: dict[str, str]) -> str:
    """The columns, floats to 11 significant digits: sums of floats depend on their order in the last."""
    return ", ".join(
        f'printf(\'%.10e\', "{name}") as "{name}"' if kind == "DOUBLE" else f'"{name}"'
        for name, kind in columns.items()
    )


def differences(before: Path, after: Path) -> list[str]:
    """The differences between the marts of two warehouses, one line each; empty if there are none."""
    lines = []
    with duckdb.connect() as connection:
        for name, file in (("before", before), ("after", after)):
            connection.execute(f"attach '{file}' as {name} (read_only)")
        old, new = tables(connection, "before"), tables(connection, "after")
        lines += [f"{table}: only before" for table in old.keys() - new.keys()]
        lines += [f"{table}: only after" for table in new.keys() - old.keys()]
        for table in sorted(old.keys() & new.keys()):
            if gone := old[table].keys() - new[table].keys():
                lines.append(f"{table}: columns only before: {', '.join(sorted(gone))}")
            if added := new[table].keys() - old[table].keys():
                lines.append(f"{table}: columns only after: {', '.join(sorted(added))}")
            columns = selected({name: kind for name, kind in old[table].items() if name in new[table]})
            for one, other in (("before", "after"), ("after", "before")):
                query = f"select {columns} from {one}.marts.{table} except all select {columns} from {other}.marts.{table}"
                if rows := connection.execute(query).fetchall():
                    lines.append(f"{table}: {len(rows):,} rows only {one}")
                    lines += [f"    {row}" for row in rows[:EXAMPLES]]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("revision")
    revision = parser.parse_args().revision
    with tempfile.TemporaryDirectory(prefix="same-marts-") as name:
        scratch = Path(name)
        subprocess.run(
            ["git", "-C", PROJECT, "worktree", "add", "--detach", "--quiet", scratch / "tree", revision],
            check=True,
        )
        try:
            build(scratch / "tree", scratch / "before")
            build(PROJECT, scratch / "after")
            found = differences(*(scratch / which / "warehouse.duckdb" for which in ("before", "after")))
        finally:
            subprocess.run(
                ["git", "-C", PROJECT, "worktree", "remove", "--force", scratch / "tree"], check=True
            )
    print("\n".join(found) or f"Every mart equals that of {revision}, row for row.")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
