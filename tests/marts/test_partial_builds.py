"""Any order of partial builds, full refreshes and losses ends with the rows of one full build."""

import shutil
from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from .compare import everything
from .histories import History
from .warehouse import Warehouse

# The incremental models; the others are views and tables on these.
MODELS = (
    "--select",
    "+fct_flag_exposures",
    "+fct_flag_exposures_daily",
    "+fct_deliveries_hourly",
    "+fct_flag_changes",
)
# Three batches, each with its own time of landing, as the loader gives it.
FIRST, SECOND, THIRD = (
    [
        row._replace(landed_at=datetime(2026, 7, 1 + start // 80))
        for row in History(7).deliveries(240)[start : start + 80]
    ]
    for start in (0, 80, 160)
)


def sql(*statements: str):
    """A step in which somebody changes the warehouse by hand."""

    def step(warehouse: Warehouse) -> None:
        with duckdb.connect(warehouse.path) as connection:
            for statement in statements:
                connection.execute(statement)

    return step


def run(*arguments: str):
    """A step in which somebody runs some of the models."""
    return lambda warehouse: warehouse.dbt("run", *arguments)


DROP_NUMBERS = ("drop table staging.stg_flagsmith__deliveries", "drop table intermediate.int_deliveries")
STEPS = {
    "staging and int_deliveries rebuilt": [
        run("--full-refresh", "-s", "stg_flagsmith__deliveries", "int_deliveries")
    ],
    "staging rebuilt alone": [run("--full-refresh", "-s", "stg_flagsmith__deliveries")],
    "staging dropped": [sql(DROP_NUMBERS[0])],
    "staging and int_deliveries dropped": [sql(*DROP_NUMBERS)],
    "both dropped, staging built first": [sql(*DROP_NUMBERS), run("-s", "stg_flagsmith__deliveries")],
    "progress dropped": [sql("drop table intermediate.build_progress"), run("-s", "int_deliveries")],
    "progress of an earlier day": [
        sql("delete from intermediate.build_progress where model like 'stg%'"),
        run("-s", "fct_flag_exposures"),
    ],
    "empty run": [run("--empty", "-s", "int_deliveries", "fct_flag_exposures")],
    "dropped, then an empty run": [
        sql("drop table marts.fct_deliveries_hourly"),
        run("--empty", "-s", "fct_deliveries_hourly"),
    ],
}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Warehouse:
    """Two builds."""
    warehouse = Warehouse(tmp_path_factory.mktemp("partial"))
    for rows in (FIRST, SECOND):
        warehouse.land(rows)
        warehouse.dbt("run", *MODELS)
    return warehouse


@pytest.fixture(scope="module")
def at_once(tmp_path_factory) -> dict:
    """The rows of one full build of everything."""
    warehouse = Warehouse(tmp_path_factory.mktemp("at_once"))
    warehouse.land([*FIRST, *SECOND, *THIRD])
    warehouse.dbt("run", *MODELS)
    return everything(warehouse)


@pytest.fixture
def mine(built, tmp_path) -> Warehouse:
    """A copy of the built warehouse that a test may change."""
    shutil.copy(built.path, Path(tmp_path) / "warehouse.duckdb")
    return Warehouse(tmp_path)


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS.keys())
def test_marts__rebuilt_in_parts__end_in_the_rows_of_one_full_build(mine, at_once, steps):
    for step in steps:
        step(mine)
    mine.land(THIRD)
    mine.dbt("run", *MODELS)
    assert everything(mine) == at_once


def test_marts__earlier_landing_restored__hold_only_what_is_landed(mine, at_once, tmp_path_factory):
    """Given a landing that lost its newest deliveries; when others are landed; then the marts hold what is landed now."""
    with duckdb.connect(mine.path) as connection:
        ids = [row.delivery_id for row in SECOND]
        connection.execute("delete from landing.webhooks where list_contains(?, delivery_id)", [ids])
    mine.land(THIRD)
    mine.dbt("run", *MODELS)
    landed = Warehouse(tmp_path_factory.mktemp("landed"))
    landed.land([row for row in FIRST if row.delivery_id not in ids] + THIRD)
    landed.dbt("run", *MODELS)
    assert everything(mine) == everything(landed)
