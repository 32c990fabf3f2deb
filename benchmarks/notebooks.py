"""Notebooks: how many seconds of processor one takes to answer a click, on the example month and on marts fifty times as large.

Fifty months of 20,000 deliveries are 1,000,000: the same marts with fifty times the identities. A click
here runs all cells of a notebook, its pickers included, from the SQL to the charts that the browser receives. Readers have
the published copy, in which every mart is a table, so that is what is measured. The demo's experiments and cohorts are declared.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import duckdb
import yaml

from flagsmith_warehouse.loader import settings
from flagsmith_warehouse.loader.operations import publish
from flagsmith_warehouse.notebooks.report import NOTEBOOKS
from flagsmith_warehouse.simulator import example, landing
from flagsmith_warehouse.simulator.example import MONTH
from flagsmith_warehouse.simulator.world import World

PROJECT = Path(__file__).parent.parent
TIMES = 50
ROUNDS = 3


def main() -> None:
    """Build both warehouses in a temporary folder, and print the slowest of three rounds for each notebook."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FLAGSMITH_WAREHOUSE_DIR"] = folder
        file = Path(folder) / "warehouse.duckdb"
        deliveries = landing.append(file, World(MONTH).deliveries())
        _build(Path(folder))
        _measure(deliveries)
        _multiply(file)
        _measure(deliveries * TIMES)


def _build(folder: Path) -> None:
    cohorts = yaml.safe_load((example.FOLDER / "cohorts.yml").read_text())
    declared = example.declared() | {"cohorts": cohorts, "stale_flag_days": example.STALE_FLAG_DAYS}
    command = [
        Path(sys.executable).parent / "dbt",
        "--quiet",
        "build",
        "--resource-type",
        "seed",
        "--resource-type",
        "model",
        "--vars",
        json.dumps(declared),
    ]
    subprocess.run(
        [*command, "--target-path", folder / "target", "--log-path", folder], cwd=PROJECT, check=True
    )


def _multiply(file: Path) -> None:
    """Give every mart about identities fifty times its rows; marts by day do not grow with the number of people."""
    with duckdb.connect(str(file)) as connection:
        _tables_for_views(connection)
        marts = "select table_name from duckdb_tables() where schema_name = 'marts'"
        for (mart,) in connection.execute(marts).fetchall():
            columns = dict(
                connection.execute(
                    "select column_name, data_type from duckdb_columns() where schema_name = 'marts' and table_name = $mart",
                    {"mart": mart},
                ).fetchall()
            )
            if "identity" in columns and mart != "fct_flag_changes":
                more = f"select {_renamed(columns)} from marts.{mart}, range(1, {TIMES}) as numbers (n)"
                connection.execute(f"insert into marts.{mart} {more}")
        connection.execute("checkpoint")


def _tables_for_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Replace the marts that are views, which cannot be given rows, with tables of the same rows."""
    views = "select view_name from duckdb_views() where schema_name = 'marts'"
    for (mart,) in connection.execute(views).fetchall():
        connection.execute(f"create table marts.kept as from marts.{mart}")
        connection.execute(f"drop view marts.{mart}")
        connection.execute(f"alter table marts.kept rename to {mart}")


def _renamed(columns: dict[str, str]) -> str:
    return ", ".join("identity || '_' || n" if name == "identity" else f'"{name}"' for name in columns)


def _measure(deliveries: int) -> None:
    print(f"{deliveries:,} deliveries")
    publish.publish(settings.read())
    for name in NOTEBOOKS:
        slowest = max(_click(name) for _ in range(ROUNDS))
        print(f"  {name:22} {slowest:5.2f} s", flush=True)


def _click(name: str) -> float:
    app = importlib.import_module(f"flagsmith_warehouse.notebooks.{name}").app
    # As on a live page: only a report asks for which of its links it has pages.
    with mock.patch("marimo.app_meta", lambda: SimpleNamespace(mode="run")):
        started = time.process_time()
        app.run()
        return time.process_time() - started
