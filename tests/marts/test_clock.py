"""The machine's clock does not affect which deliveries are new."""

from datetime import datetime, timedelta

import duckdb

from .compare import assert_marts_equal
from .histories import History
from .reference import Warehouse as Reference


def put_clocks_ahead(warehouse) -> None:
    """Move all times in the progress table (it should have none) a day into the future."""
    with duckdb.connect(warehouse.path) as connection:
        columns = connection.execute(
            "select column_name from duckdb_columns() where table_name = 'build_progress' and data_type like 'TIMESTAMP%'"
        ).fetchall()
        for (column,) in columns:
            connection.execute(f"update intermediate.build_progress set {column} = {column} + interval 1 day")


def test_progress__recorded_by_a_clock_that_was_ahead__is_still_the_latest(warehouse):
    """Given builds recorded while the clock was a day ahead; when it is corrected; then nothing is counted twice."""
    rows = [
        row._replace(landed_at=datetime(2026, 7, 1) + timedelta(hours=n // 100))
        for n, row in enumerate(History(5).deliveries(400))
    ]
    for number in range(4):
        warehouse.land(rows[number * 100 : number * 100 + 100])
        warehouse.run()
        if number == 0:
            put_clocks_ahead(warehouse)
        assert_marts_equal(warehouse, Reference(rows[: number * 100 + 100]))
