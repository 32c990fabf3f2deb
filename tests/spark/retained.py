"""Deletes old data on DuckDB and on Spark, in three builds, and stops Spark in the middle of it: what is left, and what is said."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from unittest import mock

import duckdb
import yaml
from click.testing import CliRunner
from pyspark.sql import SparkSession

from flagsmith_warehouse.loader.landing.schema import TABLES
from flagsmith_warehouse.loader.operations.cli import WITH_PROBLEMS
from flagsmith_warehouse.loader.operations.cli import main as main_command
from flagsmith_warehouse.loader.operations.erase_spark import PROGRESS as SNAPSHOT_PROPERTY
from flagsmith_warehouse.loader.operations.init import write_project
from flagsmith_warehouse.loader.operations.refresh import pruning_in_words
from flagsmith_warehouse.loader.settings import read

from ..marts.conftest import landed
from ..operations.test_retention import NOTHING_SAID, steps
from .compare import Read, differences, of_file, of_session
from .declared import _fill

DAYS = 10
# Spells, counts of each kind, first times, and what a run must build before it prunes.
MARTS = ("fct_flag_assignments", "fct_segment_memberships", "fct_identity_traits", "fct_flag_exposures_daily")
MARTS += ("fct_segment_sizes_daily", "fct_deliveries_hourly", "dim_identities", "quarantined_deliveries")
DECLARATIONS = ["int_declaration_*", "int_declared_experiments"]
MODELS = [*(f"+{mart}" for mart in MARTS), *DECLARATIONS]
TABLES_OF_BOTH = (
    *MARTS,
    "intermediate.int_state_spells",
    "intermediate.int_flag_absences",
    "landing.webhooks",
)
# Where Spark is stopped: after the cutoffs, in the middle of a table's two statements, and when history expires.
STOPS = (
    "absences.absent_to <= pruned.pruned_before",
    "merge into staging.stg_flagsmith__payloads",
    "expire_snapshots",
)


class Stopped(Exception):
    """Spark is stopped here."""


@contextlib.contextmanager
def stopped_at(text: str) -> Iterator[list[str]]:
    """Fail at the first statement with this text. Yields a list in which the statement then is."""
    run, stopped = SparkSession.sql, []

    def run_unless(self, statement, *arguments, **named):
        if text in " ".join(statement.replace("`", "").split()):
            stopped.append(statement)
            raise Stopped(text)
        return run(self, statement, *arguments, **named)

    with mock.patch.object(SparkSession, "sql", run_unless):
        yield stopped


def parts() -> list[list]:
    """Deliveries of three builds. The second has one alone, which that build's pruning deletes."""
    known, rows = set(), []
    for row in (row for step in steps(1, count=240, landings=2) for row in step):
        # Half a character is quarantined on DuckDB, and a question mark on Spark.
        if row.delivery_id not in known and "\\ud" not in row.body:
            known.add(row.delivery_id)
            rows.append(row)
    first, last = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    alone = landed(NOTHING_SAID, cutoff_of(first, "production", DAYS) + timedelta(hours=1), "alone")
    oldest = {each: cutoff_of([*first, alone], each, DAYS - 4) for each in ("production", "staging")}
    return [first, [alone], [row for row in last if row.received_at >= oldest[row.environment]]]


def cutoff_of(rows: list, environment: str, days: int) -> datetime:
    newest = max(row.received_at for row in rows if row.environment == environment)
    return datetime.combine(newest, datetime.min.time()) - timedelta(days=days)


def land(folder: Path, part: int, rows: list) -> None:
    """Insert the rows into DuckDB's landing, and write them as files of a lake."""
    landed_at = datetime(2027, 1, part)
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        connection.execute(TABLES)
        connection.executemany(
            "insert into landing.webhooks values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [tuple(row._replace(landed_at=landed_at)) for row in rows],
        )
        connection.execute(
            "copy (select *, strftime(landed_at, '%Y-%m-%d') as day, strftime(landed_at, '%H') as hour from landing.webhooks"
            f" where landed_at = ? order by environment, received_at) to '{folder / 'lake'}'"
            " (format parquet, compression zstd, partition_by (day, hour), filename_pattern 'part-{uuid}', append)",
            [landed_at],
        )


def configure(folder: Path, first: list) -> None:
    """A project with an experiment that holds one environment back."""
    project = folder / "project"
    write_project(project)
    experiment = {
        "experiment_key": "e",
        "environment": "staging",
        "feature_name": "checkout",
        "control_variation": "control",
        "assignment_reason": "environment_default",
        "started_at": f"{cutoff_of(first, 'staging', DAYS + 2):%Y-%m-%d}",
    }
    _fill(project / "experiments" / "experiments.csv", [experiment])
    settings = project / "dbt_project.yml"
    document = yaml.safe_load(settings.read_text(encoding="utf-8"))
    document["vars"]["flagsmith_warehouse"] |= {
        "landing_files": str(folder / "lake"),
        "conversion_events": None,
    }
    settings.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def wrong_things(folder: Path, build: Callable) -> Iterator[str]:
    """Build and prune on both in three parts. What is not as it should be, a line each."""
    first, alone, last = parts()
    configure(folder, first)
    land(folder, 1, first)
    for target in ("duckdb", "spark"):
        build(folder, target, ["experiments"], "seed")
        build(folder, target, MODELS, retention_days=DAYS, retention_dry_run=True)
    yield from unlike(folder, "a dry run", "would delete")
    for target in ("duckdb", "spark"):
        build(folder, target, DECLARATIONS, retention_days=DAYS)
    yield from unlike(folder, "the first pruning", "deleted")
    land(folder, 2, alone)
    build(folder, "duckdb", MODELS, retention_days=DAYS - 4)
    yield from stopped_and_finished(folder, build)
    land(folder, 3, last)
    build(folder, "duckdb", MODELS, retention_days=DAYS)
    build(folder, "spark", MODELS)
    printed = refresh(folder)
    yield from unlike(folder, "the last pruning", "deleted")
    yield from (f"refresh did not say: {line}" for line in _said(folder) if line not in printed)
    yield from left_in_files(folder, printed)
    yield from rebuilt(folder, build)


def stopped_and_finished(folder: Path, build: Callable) -> Iterator[str]:
    """Stop the second build in its pruning, and each that goes on with it. The last one finishes that before anything else."""
    # A build that was stopped keeps its lock. The next one is the same builder's, as a refresh is.
    os.environ["FLAGSMITH_BUILDER"] = "tests"
    for stop, models in zip(STOPS, (MODELS, DECLARATIONS, DECLARATIONS), strict=True):
        with stopped_at(stop) as stopped, contextlib.suppress(SystemExit):
            build(folder, "spark", models, retention_days=DAYS - 4)
        if not stopped:
            yield f"{stop} was never reached"
    build(folder, "spark", DECLARATIONS)
    yield from unlike(folder, "a pruning that was stopped", "deleted")


def unlike(folder: Path, what: str, verb: str) -> Iterator[str]:
    """What differs between the two, and in what they say."""
    words = _said(folder)
    if not any(verb in line for line in words) or not any("experiment e began" in line for line in words):
        yield f"{what} was to delete, and to be held back: {words}"
    yield from unlike_tables(folder, what, (*TABLES_OF_BOTH, "landing.last_pruning"))


def unlike_tables(folder: Path, what: str, tables: tuple[str, ...]) -> Iterator[str]:
    """The tables and cutoffs that differ between the two."""
    session = SparkSession.builder.getOrCreate()
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as warehouse:
        warehouse.execute("set timezone = 'UTC'")
        readers = (_without_hashes(each) for each in (of_file(warehouse), of_session(session)))
        yield from (f"{what}: {line}" for line in differences(*readers, tables))
        cutoffs = "select environment, {} from landing.pruned order by 1"
        expected = warehouse.execute(cutoffs.format("pruned_before::varchar")).fetchall()
    found = [tuple(row) for row in session.sql(cutoffs.format("cast(pruned_before as string)")).collect()]
    if found != expected:
        yield f"{what}: cutoffs are {found}, and not {expected}"


def _said(folder: Path) -> list[str]:
    """The sentences about what retention did on DuckDB."""
    return pruning_in_words(read({"FLAGSMITH_WAREHOUSE_DIR": str(folder)}))


def _without_hashes(reader: Read) -> Read:
    """Without the columns that each engine computes in its own way."""

    def read_columns(table: str) -> tuple[list[str], list[dict]]:
        names, rows = reader(table)
        return [name for name in names if not name.endswith("_hash")], rows

    return read_columns


def refresh(folder: Path) -> str:
    """What `refresh --target spark` of a few models prints: with all, it would also run all tests."""
    arguments = ["refresh", "--target", "spark", "--project-dir", str(folder / "project"), "--select"]
    arguments += [" ".join(DECLARATIONS), "--vars", f"{{retention_days: {DAYS}}}"]
    ran = CliRunner().invoke(main_command, arguments)
    if ran.exit_code not in (0, WITH_PROBLEMS):
        raise SystemExit(f"the refresh failed: {ran.output or repr(ran.exception)}")
    return ran.output


def left_in_files(folder: Path, printed: str) -> Iterator[str]:
    """Rows from before the cutoff that are still in a file, of the lake or of a table."""
    if f" below {folder / 'lake'}." not in printed:
        yield f"refresh did not say what it deleted from files: {printed}"
    yield from old_rows(folder, folder / "lake", folder / "spark" / "tables")


def old_rows(folder: Path, *places: Path) -> Iterator[str]:
    """Rows from before the cutoff in the Parquet files below the places."""
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as warehouse:
        for file in (file for place in places for file in place.rglob("*.parquet")):
            read_file = f"read_parquet('{file}', hive_partitioning = false)"
            names = [row[0] for row in warehouse.execute(f"describe from {read_file}").fetchall()]
            if {"environment", "received_at"} <= {*names}:
                old = (
                    f"select count(*) from {read_file} as row inner join landing.pruned using (environment) "
                    "where received_at::timestamp < pruned_before"
                )
                if rows := warehouse.execute(old).fetchone()[0]:
                    yield f"{file} still has {rows} rows from before the cutoff"


def rebuilt(folder: Path, build: Callable) -> Iterator[str]:
    """What is wrong with models that are to be built anew after their deliveries are gone."""
    session = SparkSession.builder.getOrCreate()
    before = _rows(session, "marts.dim_identities"), _rows(session, "marts.fct_flag_assignments")
    try:
        build(folder, "spark", ["dim_identities"], "run", "--full-refresh")
        yield "a full refresh was not refused"
    except SystemExit as refused:
        if "holds what retention has pruned" not in " ".join(str(refused).split()):
            yield f"a full refresh was refused for another reason: {refused}"
    # What a var of dim_identities changes, and sets of flags as an earlier logic hashed them.
    progress = SNAPSHOT_PROPERTY + "int_flag_set_elements"
    session.conf.set(
        f"spark.sql.iceberg.snapshot-property.{progress}",
        _progress(session, "int_flag_set_elements", fingerprint="earlier"),
    )
    session.sql("update intermediate.int_flag_set_elements set state_hash = 'x', exposure_hash = 'x'")
    session.conf.unset(f"spark.sql.iceberg.snapshot-property.{progress}")
    models = ["dim_identities", "int_flag_set_elements", "fct_flag_assignments"]
    build(folder, "spark", models, transient_traits_in_dim_identities=True)
    if before != (_rows(session, "marts.dim_identities"), _rows(session, "marts.fct_flag_assignments")):
        yield "rows that cannot be computed again were changed"
    if session.sql("select 1 from intermediate.int_flag_set_elements where state_hash = 'x'").count():
        yield "sets of flags have the hashes of an earlier logic"
    newest = session.sql("select cast(max(pruned_before) as string) from landing.pruned").first()[0]
    if (kept := json.loads(_progress(session, "dim_identities"))["kept_before"]) != newest:
        yield f"dim_identities keeps rows from before {kept}, and not {newest}"


def _rows(session: SparkSession, table: str) -> list[str]:
    return sorted(map(repr, session.table(table).collect()))


def _progress(session: SparkSession, model: str, **changed) -> str:
    """The progress of a model, with changes."""
    return json.dumps(json.loads(recorded_progress(session, model)) | changed)


def recorded_progress(session: SparkSession, model: str) -> str | None:
    """The progress of a model as it is written; None if no snapshot of its table has any."""
    schema = {"int": "intermediate", "stg": "staging"}.get(model.split("_")[0], "marts")
    return session.sql(
        f"select max_by(summary['{SNAPSHOT_PROPERTY}{model}'], committed_at) from {schema}.{model}.snapshots"
    ).first()[0]
