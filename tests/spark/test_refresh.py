"""`refresh --target spark` without Spark: what is refused, and how its files become the published copy."""

import os
from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import duckdb
import pytest
from click.testing import CliRunner

from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.loader.operations import spark, status
from flagsmith_warehouse.loader.operations.cli import main
from flagsmith_warehouse.loader.operations.init import write_project
from flagsmith_warehouse.loader.operations.publish import PublishError


@pytest.fixture
def settings(tmp_path):
    write_project(tmp_path / "project")
    environ = {
        "FLAGSMITH_WAREHOUSE_DIR": str(tmp_path / "data"),
        "FLAGSMITH_PROJECT_DIR": str(tmp_path / "project"),
        "FLAGSMITH_WEBHOOK_SECRETS": '{"production": ["a"]}',
    }
    with mock.patch.dict(os.environ, environ):
        yield settings_module.read()


def test_refresh__java_is_missing__says_what_is_needed(settings, monkeypatch):
    monkeypatch.setattr(spark.shutil, "which", lambda name: None)
    ran = CliRunner().invoke(main, ["refresh", "--target", "spark"])
    assert ran.exit_code == 1 and "needs Java 17" in ran.output and "Nothing was built" in ran.output
    assert status.last_refresh(settings)["result"] == "failure"


def test_refresh__most_rows_for_duckdb__is_wrong_usage(settings):
    ran = CliRunner().invoke(main, ["refresh", "--most-rows", "10"])
    assert ran.exit_code == 2 and "--target spark" in ran.output


def test_variables__cohorts_in_a_file__become_a_list(settings):
    (settings.project_dir / "cohorts.yml").write_text("- {key: a, rules: []}\n")
    known = spark._variables(settings, {"landing_files": "/lake"})
    assert known == {
        "landing_files": "/lake",
        "cohorts": [{"key": "a", "rules": []}],
        "conversion_events": None,
    }


def test_variables__outcomes_in_a_folder__are_refused_by_name(settings):
    (settings.project_dir / "outcomes" / "events.csv").write_text("identity,event_name,occurred_at\n")
    with pytest.raises(
        spark.SparkError, match=r"conversion_events is the folder outcomes/.* Nothing was\s+built"
    ):
        spark._variables(settings, {})


def test_variables__outcomes_in_a_table__are_left_alone(settings):
    (settings.project_dir / "outcomes" / "events.csv").write_text("identity,event_name,occurred_at\n")
    known = spark._variables(settings, {"conversion_events": "analytics.events"})
    assert known["conversion_events"] == "analytics.events"


def node(**types: str) -> SimpleNamespace:
    columns = {
        name: SimpleNamespace(data_type=kind, description=f"The {name}.") for name, kind in types.items()
    }
    contract = SimpleNamespace(contract=SimpleNamespace(enforced=True))
    return SimpleNamespace(
        name="dim", schema="marts", alias="dim", description="It's one row.", columns=columns, config=contract
    )


@pytest.fixture
def files(tmp_path):
    (tmp_path / "marts.dim").mkdir()
    duckdb.execute("set timezone = 'UTC'")
    duckdb.execute(
        "copy (select timestamptz '2026-05-01 12:00:00+00' as seen_at, 3::integer as visits)"
        f" to '{tmp_path}/marts.dim/part.parquet' (format parquet)"
    )
    return tmp_path


def test_copy__a_table_of_spark__has_the_types_and_descriptions_of_its_contract(files):
    with duckdb.connect() as warehouse:
        warehouse.execute("set timezone = 'UTC'")
        spark._copy_table(warehouse, files, node(seen_at="timestamp", visits="bigint"))
        described = warehouse.execute("describe marts.dim").fetchall()
        assert [row[:2] for row in described] == [("seen_at", "TIMESTAMP"), ("visits", "BIGINT")]
        assert str(warehouse.execute("select seen_at from marts.dim").fetchone()[0]) == "2026-05-01 12:00:00"
        (comment,) = warehouse.execute("select comment from duckdb_tables()").fetchone()
        assert comment == "It's one row."


@pytest.mark.parametrize(
    "types", [{"seen_at": "timestamp"}, {"seen_at": "timestamp", "visits": "bigint", "more": "bigint"}]
)
def test_copy__columns_that_are_not_those_of_the_contract__are_refused(files, types):
    with duckdb.connect() as warehouse, pytest.raises(PublishError, match="dim breaks its contract on Spark"):
        spark._copy_table(warehouse, files, node(**types))


@pytest.mark.parametrize("sign", spark.IN_USE)
def test_refresh__another_build_uses_the_catalogue__says_so(settings, monkeypatch, sign):
    outcome = SimpleNamespace(success=False, exception=f"Runtime Error\n  about {sign} here", result=None)
    monkeypatch.setattr(spark, "refuse_missing", lambda: None)
    monkeypatch.setattr(spark.dbt, "parse", lambda *_, **__: None)
    monkeypatch.setattr(spark.checks, "refuse_unusable_vars", lambda *_: None)
    monkeypatch.setattr(spark.dbt, "run", lambda *_, **__: outcome)
    ran = CliRunner().invoke(main, ["refresh", "--target", "spark"])
    assert ran.exit_code == 1 and "another build is using it" in ran.output and sign in ran.output


def test_scratch__killed_or_not__nothing_is_left(settings):
    left = settings.spark_dir / "publishing" / "left.parquet"
    left.parent.mkdir(parents=True)
    left.write_text("of somebody")
    with spark._scratch(settings) as copied:
        assert not left.exists() and copied == replace(settings, warehouse_dir=left.parent)
    assert not left.parent.exists()


def test_status__the_last_refresh_was_on_spark__does_not_look_into_the_warehouse_here(settings):
    with status.recorded_refresh(settings) as record:
        record["target"] = "spark"
    assert status.gather(settings)["landed_according_to"] == "the published copy"


def test_publish__the_last_refresh_was_on_spark__says_what_publishes(settings):
    with status.recorded_refresh(settings) as record:
        record["target"] = "spark"
    ran = CliRunner().invoke(main, ["publish"])
    assert ran.exit_code == 1 and "refresh --target spark` publishes them" in ran.output


def test_erase__dry_run_on_spark__is_wrong_usage(settings):
    ran = CliRunner().invoke(main, ["erase", "--identity", "ann", "--target", "spark", "--dry-run"])
    assert ran.exit_code == 2 and "--dry-run is for DuckDB" in ran.output


def test_erase__java_is_missing__erases_nothing(settings, monkeypatch):
    monkeypatch.setattr(spark.shutil, "which", lambda name: None)
    ran = CliRunner().invoke(main, ["erase", "--identity", "ann", "--target", "spark"])
    assert ran.exit_code == 1 and "needs Java 17" in ran.output
    assert not settings.receipts_file.exists()
