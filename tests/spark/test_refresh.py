"""`refresh --target spark` without Spark: what is refused, and how its files become the published copy."""

import os
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import duckdb
import pytest
from click.testing import CliRunner

from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.loader.operations import dbt, publish, spark, status
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
        record["published_from"] = "spark"
    assert status.gather(settings)["landed_according_to"] == "the published copy"


def test_publish__the_last_refresh_was_on_spark__says_what_publishes(settings):
    with status.recorded_refresh(settings) as record:
        record["published_from"] = "spark"
    ran = CliRunner().invoke(main, ["publish"])
    assert ran.exit_code == 1 and "refresh --target spark` publishes them" in ran.output


def test_refresh__it_fails_on_spark_before_it_publishes__the_copy_is_still_that_of_the_warehouse(
    settings, monkeypatch
):
    with status.recorded_refresh(settings):
        pass
    monkeypatch.setattr(spark.shutil, "which", lambda name: None)
    assert CliRunner().invoke(main, ["refresh", "--target", "spark"]).exit_code == 1
    assert not status.is_of_spark(status.last_refresh(settings))
    with status.recorded_refresh(settings) as record:
        record["published_from"] = "spark"
    assert CliRunner().invoke(main, ["refresh", "--target", "spark"]).exit_code == 1
    assert status.is_of_spark(status.last_refresh(settings))


def test_is_of_spark__a_record_of_an_earlier_release__goes_by_its_target():
    assert status.is_of_spark({"target": "spark"}) and not status.is_of_spark({})


def test_retention__what_spark_writes__becomes_the_sentences_of_duckdb_and_paths_below_the_url(tmp_path):
    duckdb.execute("set timezone = 'UTC'")
    for what, rows in (
        (
            "last_pruning",
            "select 90 as retention_days, false as is_dry_run, null::varchar as why, 'example' as environment, "
            "timestamptz '2026-09-08' as pruned_before, 20048 as deliveries, timestamptz '2026-09-08' as wanted_before, "
            "0 as kept, null::varchar as held_by, null::timestamptz as held_from",
        ),
        (
            "old_deliveries",
            "select 's3a://bucket/a%20b/day=2026-05-03/hour=14/x%20y.parquet' as file, 'example' as environment, "
            "timestamptz '2026-09-08' as pruned_before",
        ),
        ("kept_history", "select 'dim_flags' as model, '2026-09-08 00:00:00' as kept_before"),
    ):
        (tmp_path / what).mkdir()
        duckdb.execute(f"copy ({rows}) to '{tmp_path}/{what}/part.parquet' (format parquet)")
    with duckdb.connect() as warehouse:
        warehouse.execute("set timezone = 'UTC'")
        retention = spark._retention(warehouse, tmp_path)
    assert retention.said == ["Retention deleted 20,048 deliveries of example from before 2026-09-08."]
    assert retention.kept_history == {"dim_flags": "2026-09-08"}
    assert retention.paths == ["day=2026-05-03/hour=14/x y.parquet"]
    assert retention.cutoffs == {"example": datetime(2026, 9, 8)}


@pytest.mark.parametrize(
    "folder, url",
    [
        ("s3a://bucket/a", "s3://bucket/a"),
        ("s3://bucket/a", "s3://bucket/a"),
        ("abfss://c@a.dfs.core.windows.net/b", "abfss://c@a.dfs.core.windows.net/b"),
        ("/lake/a b", "file:///lake/a%20b"),
    ],
)
def test_url__what_spark_reads__is_the_url_of_land_to(folder, url):
    assert spark.url_of(folder) == url


def test_prune_files__storage_cannot_be_written__says_what_is_done_and_what_is_left(settings):
    retention = spark.Retention(paths=["day=1/hour=1/a.parquet"], cutoffs={"example": datetime(2026, 9, 8)})
    spark._prune_files(settings, {"landing_files": "hdfs://cluster/lake"}, retention, print)
    assert "1 file below hdfs://cluster/lake still hold" in retention.problem
    assert "the next refresh tries again" in retention.problem and not retention.said


@pytest.mark.parametrize("default, chosen", [("spark", ["--target", "local"]), ("local", []), ("gone", [])])
def test_dbt__the_profile_has_another_default__commands_for_duckdb_choose_its_target(
    settings, default, chosen
):
    (settings.project_dir / "profiles.yml").write_text(
        f"{dbt.document_of(settings.project_dir)['profile']}:\n  target: {default}\n  outputs:\n"
        "    spark: {type: spark}\n    local: {type: duckdb}\n"
    )
    assert dbt._duckdb_target(settings.project_dir) == chosen


def test_dbt__a_target_is_named__is_the_only_one(settings, monkeypatch):
    given = []
    monkeypatch.setattr(dbt, "_duckdb_target", lambda folder: ["--target", "local"])
    monkeypatch.setattr("dbt.cli.main.dbtRunner.invoke", lambda self, arguments: given.append(arguments))
    dbt.run(settings, "parse")
    dbt.run(settings, "parse", *spark.TARGET)
    assert [arguments.count("--target") for arguments in given] == [1, 1]
    assert given[0][given[0].index("--target") + 1] == "local"


def test_builder__whatever_ends_it__the_lock_is_given_up(settings, monkeypatch):
    ran = []
    monkeypatch.setattr(
        spark, "run_operation", lambda settings, name, known: ran.append(name) or "no storage"
    )
    said = []
    with pytest.raises(KeyboardInterrupt), spark.as_the_builder(settings, [], said.append):
        assert os.environ["FLAGSMITH_BUILD_GOES_ON"]
        raise KeyboardInterrupt
    assert ran == ["give_up_build_lock"] and "ends after two hours: no storage" in said[0]
    assert "FLAGSMITH_BUILD_GOES_ON" not in os.environ
    with pytest.raises(spark.CatalogueInUse), spark.as_the_builder(settings, [], said.append):
        raise spark.CatalogueInUse("by another")
    assert ran == ["give_up_build_lock"]


def test_prepare__vars_of_the_run__are_passed_on(settings, monkeypatch):
    given = []
    monkeypatch.setattr(
        spark.dbt, "run", lambda _, *arguments, **__: given.append(arguments) or SimpleNamespace(success=True)
    )
    spark._prepare(settings, ["--vars", '{"silence_alert_deliveries": 3}'], verbose=False)
    assert len(given) == 2 and all('{"silence_alert_deliveries": 3}' in arguments for arguments in given)


def test_copy__a_column_that_has_another_type_than_promised__is_named_with_its_model(files):
    (files / "marts.dim" / "part.parquet").unlink()
    duckdb.execute(f"copy (select 'never' as seen_at) to '{files}/marts.dim/part.parquet' (format parquet)")
    with duckdb.connect() as warehouse, pytest.raises(duckdb.Error, match=r'"seen_at".* VARCHAR in Spark'):
        spark._copy_table(warehouse, files, node(seen_at="timestamp"))


@pytest.mark.parametrize("layer", ["own", "marts"])
def test_copy__a_table_that_duckdb_cannot_read__only_the_own_one_is_left_out(
    settings, files, monkeypatch, layer
):
    wrong = node(seen_at="interval", visits="bigint")
    copied = replace(settings, warehouse_dir=files)

    def export(*_):
        tables = files / "tables"
        (tables / "listed").mkdir(parents=True)
        (files / "marts.dim").rename(tables / "marts.dim")
        duckdb.execute(
            f"copy (select * from values ('marts', 'dim', '{layer}', 'dim', '', 1, true), "
            "('marts', 'large', 'marts', 'large', '', 7, false), ('own', 'odd', 'own', 'odd', 'x is of type void', 1, false)"
            f" as listed (s, i, l, n, f, r, c)) to '{tables}/listed/part.parquet' (format parquet)"
        )
        return SimpleNamespace(success=True)

    monkeypatch.setattr(spark.dbt, "run", export)
    manifest = SimpleNamespace(nodes={"model.dim": wrong})
    if layer == "marts":
        with pytest.raises(PublishError, match=r"marts.dim cannot be read by DuckDB: .*seen_at"):
            spark._copy(settings, copied, manifest, 5, [])
        return
    lines, _ = spark._copy(settings, copied, manifest, 5, [])
    assert "own models" in lines[0] and "seen_at" in lines[0] and "7 rows" in lines[1] and "void" in lines[2]


def test_replace__another_disk__the_file_is_copied_first(tmp_path, monkeypatch):
    old, fresh = tmp_path / "here" / "published.duckdb", tmp_path / "there" / "published.duckdb"
    for file, content in ((old, "old"), (fresh, "fresh")):
        file.parent.mkdir()
        file.write_text(content)
    rename, stat = Path.rename, Path.stat

    def of_another_disk(self, **options):
        found = stat(self, **options)
        return (
            SimpleNamespace(st_dev=1, st_size=found.st_size, st_mode=found.st_mode)
            if self == fresh
            else found
        )

    def only_on_one_disk(self, target):
        assert self.parent == target.parent, "OSError: Invalid cross-device link"
        return rename(self, target)

    monkeypatch.setattr(Path, "stat", of_another_disk)
    monkeypatch.setattr(Path, "rename", only_on_one_disk)
    assert publish.replace(old, fresh) == 5 and old.read_text() == "fresh"


def test_erase__dry_run_on_spark__is_wrong_usage(settings):
    ran = CliRunner().invoke(main, ["erase", "--identity", "ann", "--target", "spark", "--dry-run"])
    assert ran.exit_code == 2 and "--dry-run is for DuckDB" in ran.output


def test_erase__java_is_missing__erases_nothing(settings, monkeypatch):
    monkeypatch.setattr(spark.shutil, "which", lambda name: None)
    ran = CliRunner().invoke(main, ["erase", "--identity", "ann", "--target", "spark"])
    assert ran.exit_code == 1 and "needs Java 17" in ran.output
    assert not settings.receipts_file.exists()
