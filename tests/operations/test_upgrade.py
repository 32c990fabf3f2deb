"""Files of the first release are upgraded; files of a later release are left alone."""

import contextlib
import json
import lzma
import sqlite3
import tarfile
from pathlib import Path

import duckdb
import pytest

from flagsmith_warehouse.loader.inbox import file as inbox_file
from flagsmith_warehouse.loader.inbox import reader
from flagsmith_warehouse.loader.landing import schema as landing_schema
from flagsmith_warehouse.loader.operations import refresh
from tests.marts.warehouse import Warehouse
from tests.operations.conftest import invoke, receive

FIRST_RELEASE = Path(__file__).parents[1] / "fixtures" / "first_release" / "data.tar.gz"


@pytest.fixture
def first_release(settings):
    """Three deliveries landed and two in an inbox file, as the first release left them."""
    with tarfile.open(FIRST_RELEASE) as archive:
        archive.extractall(settings.warehouse_dir.parent, filter="data")
    return settings


def landed(settings, columns="*"):
    with duckdb.connect(settings.warehouse_file, read_only=True) as warehouse:
        query = f"select {columns} from landing.webhooks order by received_at, delivery_id"
        return warehouse.execute(query).fetchall()


def test_land__data_of_the_first_release__is_upgraded_and_nothing_lost(first_release, environ):
    before = landed(first_release)
    ran = invoke(environ, "land")
    assert ran.exit_code == 0 and "Landed 2 deliveries" in ran.output, ran.output
    after = landed(first_release)
    assert [row[:-1] for row in after[:3]] == before and len(after) == 5
    assert {row[-1] for row in after} == {None}
    assert after[4][7] == "waiting" and not list(first_release.inbox_dir.glob("*"))


def test_land__twice__upgrades_once(first_release, environ):
    for _ in range(2):
        assert invoke(environ, "land").exit_code == 0
    with duckdb.connect(first_release.warehouse_file, read_only=True) as warehouse:
        assert warehouse.execute("from landing.schema_version").fetchall() == [
            (landing_schema.SCHEMA_VERSION,)
        ]


@pytest.mark.parametrize("command", ["land", "refresh"])
def test_land__data_of_a_later_release__is_refused_and_left_alone(first_release, environ, command):
    invoke(environ, "land")
    with duckdb.connect(first_release.warehouse_file) as warehouse:
        warehouse.execute("insert into landing.schema_version values (99)")
    before = landed(first_release)
    ran = invoke(environ, command)
    assert ran.exit_code == 1 and "format 99" in ran.output and "later release" in ran.output
    assert landed(first_release) == before


EARLIER_FORMAT = """
create table deliveries (row_id integer primary key, delivery_id text not null, environment text not null,
    received_at integer not null, is_verified integer not null, body blob not null);
insert into deliveries values (1, '0198', 'production', 1, 1, x'6f6e65'), (2, '0199', 'production', 2, 1, x'74776f');
"""


@pytest.mark.parametrize("number", [0, 1])
def test_land__inbox_file_of_an_earlier_release__is_drained(settings, environ, number):
    receive(settings, b"of this release")
    path = settings.inbox_dir / "0198.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(EARLIER_FORMAT + f"pragma user_version = {number};")
    inbox_file.lock_of(path).touch()
    assert (reader.backlog(settings.inbox_dir), reader.mean_size(settings.inbox_dir)) == (
        (3, 1),
        (3 + 15) / 2,
    )
    ran = invoke(environ, "land")
    assert ran.exit_code == 0 and inbox_file.files(settings.inbox_dir) == []
    assert landed(settings, "body") == [("one",), ("two",), ("of this release",)]


def test_land__inbox_file_of_a_later_release__is_refused_and_holds_up_no_other(settings, environ):
    receive(settings, b"in a later format")
    [path] = inbox_file.files(settings.inbox_dir)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert reader.format_of(connection) == inbox_file.FORMAT
        connection.execute(f"pragma user_version = {inbox_file.FORMAT + 1}")
    receive(settings, b"of this release")
    content = path.read_bytes()
    ran = invoke(environ, "land")
    assert ran.exit_code == 1 and "later release" in " ".join(ran.output.split()) and path.name in ran.output
    assert landed(settings, "body") == [("of this release",)]
    assert path.read_bytes() == content and inbox_file.files(settings.inbox_dir) == [path]


def test_refresh__models_keep_history_of_an_earlier_logic__says_so_once_and_status_always(
    warehouse, environ, monkeypatch
):
    """Given a build in which a model kept what retention has pruned; then stderr says so once, and `status` until it is gone."""

    def build(settings, *_):
        with duckdb.connect(settings.warehouse_file) as connection:
            connection.execute(
                "update intermediate.build_progress set kept_before = timestamp '2026-05-01'"
                " where model = 'fct_flag_exposures'"
            )
            connection.execute(  # as an earlier build recorded it
                "insert into intermediate.build_progress select * replace (-1 as recording, timestamp '2026-04-01' as kept_before)"
                " from intermediate.build_progress where model = 'fct_flag_exposures'"
            )
        return refresh.Built()

    monkeypatch.setattr("flagsmith_warehouse.loader.operations.refresh.build", build)
    said = [invoke(environ, "refresh").stderr for _ in range(2)]
    assert "fct_flag_exposures: rows from before 2026-05-01 keep an earlier logic" in said[0]
    assert "fct_flag_exposures" not in said[1]
    assert "Rows from before 2026-05-01 keep an earlier logic" in " ".join(
        invoke(environ, "status").output.split()
    )
    assert json.loads(invoke(environ, "status", "--json").stdout)["refresh"]["kept_history"] == {
        "fct_flag_exposures": "2026-05-01"
    }


IN_USE = FIRST_RELEASE.with_name("in_use.duckdb.xz")
GIVEN = {
    "retention_days": 30,
    "experiments": "given.experiments",
    "metrics": "given.metrics",
    "experiment_metrics": "given.links",
    "conversion_events": "given.events",
}


def test_build__over_a_pruned_warehouse_of_the_first_release__keeps_what_is_gone_and_counts_outcomes_anew(
    settings,
):
    """Given what 0.1.0 built and pruned, with an outcome of 2099 counted for `a`; then nothing is refused or counted twice."""
    settings.warehouse_dir.mkdir(parents=True, exist_ok=True)
    settings.warehouse_file.write_bytes(lzma.decompress(IN_USE.read_bytes()))
    warehouse = Warehouse(settings.warehouse_dir)
    totals = "select sum(exposure_count) as exposures, min(first_exposed_at) as first from marts.fct_flag_exposures"
    means = (
        "select variation, identities, mean from marts.fct_experiment_results"
        " where population = 'assigned' order by variation"
    )
    before, (a, *others) = warehouse.query(totals), warehouse.query(means)
    assert a == {"variation": "a", "identities": 20, "mean": 1.55}

    warehouse.dbt("run", "--vars", json.dumps(GIVEN))
    assert warehouse.query(totals) == before
    assert warehouse.query(means) == [a | {"mean": 1.5}, *others]
    kept = refresh.kept_history(settings)
    assert {"fct_flag_exposures", "fct_flag_assignments"} <= set(kept)
    assert set(kept.values()) == {"2026-03-01"}
