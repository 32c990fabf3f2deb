"""`refresh --target spark`: dbt builds Iceberg tables with Spark, and the marts of readers' size are published as ever.

Spark writes those tables as Parquet files. DuckDB reads them into a warehouse for this one refresh, gives them the types of
their contracts, and publishes it. A refresh that is killed leaves the last published copy as it was.
"""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import duckdb
import yaml

from flagsmith_warehouse.loader import LoaderError
from flagsmith_warehouse.loader.filesystem import make_folder
from flagsmith_warehouse.loader.landing import lake
from flagsmith_warehouse.loader.operations import (
    alerts,
    checks,
    dbt,
    declarations,
    publish,
    relations,
    status,
)
from flagsmith_warehouse.loader.operations.refresh import Built, Request, built_by, in_words
from flagsmith_warehouse.loader.settings import Settings
from flagsmith_warehouse.loader.text import counted, first_line

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

TARGET = ("--target", "spark")
# Tables with more rows stay in the lake.
MOST_ROWS = 5_000_000
# What a second build is told by the catalogue: by Derby, by Hive where Derby's reason is in a log, by Iceberg of two at once.
IN_USE = ("Another instance of Derby may have already booted", "SessionHiveMetaStoreClient", "/builds/data/")


class SparkError(LoaderError):
    """Nothing was published. The message says whether anything was built."""


class CatalogueInUse(SparkError):
    """The catalogue could not be opened, so nothing was built."""


@dataclass
class Retention:
    """What retention did to the tables, in sentences, and what it has to do to the files below `landing_files`.

    `kept_history`: the models with rows from an earlier logic, each with the day before which its rows are. `paths`: the files
    with deliveries from before the cutoff of their environment.
    """

    said: list[str] = field(default_factory=list)
    kept_history: dict[str, str] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    cutoffs: dict[str, datetime] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True)
class Refreshed:
    """What was built and published, the tables that stay in the lake, what retention did, and what is wrong."""

    built: Built
    published: publish.Published
    left_in_lake: tuple[str, ...]
    retention: Retention
    alerts: list[alerts.Alert]
    problems: list[declarations.Problem]


def refresh(
    settings: Settings,
    request: Request,
    most_rows: int = MOST_ROWS,
    on_wait: Callable[[str], None] = lambda text: None,
) -> Refreshed:
    """Build on Spark, then publish. The caller holds the lock of refreshes. Raises SparkError, BuildError, PublishError."""
    refuse_missing()
    known = arguments_of(settings, request.vars())
    manifest = dbt.parse(settings, *TARGET, *known, verbose=request.verbose)
    checks.refuse_unusable_vars(settings, manifest, request.vars())
    arguments = ["--exclude-resource-type", "unit_test", *request.arguments(), *TARGET, *known]
    with as_the_builder(settings, known, on_wait):
        outcome = dbt.run(settings, "build", *arguments, manifest=manifest, verbose=request.verbose)
        if not outcome.success and any(sign in dbt.reason(outcome) for sign in IN_USE):
            raise CatalogueInUse(
                "The catalogue could not be opened, most likely because another build is using it. Nothing was built; try again when "
                f"that has ended. (Its own words: {first_line(dbt.reason(outcome).strip().rsplit(chr(10), 1)[-1].strip())})"
            )
        done = publish_built(settings, manifest, most_rows, known, built_by(outcome), request.verbose)
        if done.retention.paths:
            _prune_files(settings, json.loads(known[1]), done.retention, on_wait)
        return done


def _prune_files(
    settings: Settings, given: dict, retention: Retention, on_wait: Callable[[str], None]
) -> None:
    """Remove the old deliveries from the files. If that fails, `retention.problem` says why."""
    folder = (dbt.our_vars(dbt.project_of(settings)) | given)["landing_files"]
    files = counted(len(retention.paths), "file", "files")
    try:
        rows = lake.prune(settings, url_of(folder), retention.paths, retention.cutoffs, on_wait)
    except (LoaderError, duckdb.Error, OSError) as error:
        retention.problem = (
            "Everything is built and published, and retention has deleted from the tables. But "
            f"{files} below {folder} still {'holds' if len(retention.paths) == 1 else 'hold'} deliveries from before the cutoff: "
            f"{first_line(error).rstrip('.')}. No build takes those in; the next refresh tries again to remove them."
        )
        return
    deleted = counted(rows, "delivery", "deliveries")
    retention.said.append(f"Retention deleted {deleted} from {files} below {folder}.")


def url_of(folder: str) -> str:
    """The URL by which `land --to` knows the folder or URL that Spark reads."""
    if "://" in folder:
        return re.sub("^s3[an]://", "s3://", folder)
    return Path(folder).absolute().as_uri()


def publish_built(
    settings: Settings,
    manifest: "Manifest",
    most_rows: int,
    known: list[str],
    built: Built | None = None,
    verbose: bool = False,
) -> Refreshed:
    """Publish what is built. The caller holds the lock of the build. Raises PublishError."""
    built = built or Built()
    with _scratch(settings) as copied, _explained(settings):
        left_in_lake, retention = _copy(settings, copied, manifest, most_rows, known)
        queries = _prepare(copied, known, verbose)
        found = [
            *alerts.by_the_clock(copied.warehouse_file, queries),
            *alerts.of_tests(built),
            *alerts.of_experiments(copied.warehouse_file),
        ]
        problems = declarations.problems_in(copied.warehouse_file)
        published = publish.publish(copied)
        status.mark_published_from_spark(settings)
        size = publish.replace(settings.published_file, copied.published_file)
    return Refreshed(built, replace(published, bytes=size), left_in_lake, retention, found, problems)


@contextlib.contextmanager
def _explained(settings: Settings) -> Iterator[None]:
    try:
        yield
    except (duckdb.Error, OSError) as error:
        raise publish.PublishError(
            f"Spark has built the marts, but {settings.published_file} could not be made of them: {first_line(error)}. The last "
            "published copy stays; run the same command again when the cause is gone."
        ) from error


@contextlib.contextmanager
def as_the_builder(settings: Settings, known: list[str], on_wait: Callable[[str], None]) -> Iterator[None]:
    """Keep the lock of the build that dbt takes within, until the end of the block, and give it up however that ends.

    What a refresh that was killed in this folder held is taken over (macros/engine/build_lock.sql).
    """
    os.environ["FLAGSMITH_BUILDER"] = f"refresh on {socket.gethostname()} in {settings.warehouse_dir}"
    os.environ["FLAGSMITH_BUILD_GOES_ON"] = "true"
    is_held = True
    try:
        yield
    except CatalogueInUse:
        is_held = False
        raise
    finally:
        del os.environ["FLAGSMITH_BUILD_GOES_ON"]
        if is_held and (failed := run_operation(settings, "give_up_build_lock", known)):
            on_wait(f"The lock of the build could not be given up, and ends after two hours: {failed}")


def run_operation(settings: Settings, name: str, known: list[str]) -> str | None:
    """Run an operation of ours on Spark. Returns why it failed, or None."""
    outcome = dbt.run(settings, "run-operation", f"{dbt.PACKAGE}.{name}", *TARGET, *known)
    return None if outcome.success else dbt.reason(outcome)


def arguments_of(settings: Settings, given: dict) -> list[str]:
    """dbt's arguments for these vars."""
    return ["--vars", json.dumps(_variables(settings, given), default=str)]


def refuse_missing() -> None:
    missing = [name for name in ("pyspark", "dbt.adapters.spark") if not _is_installed(name)]
    if missing or not shutil.which("java"):
        raise SparkError(
            "The target spark needs Java 17 and `pip install 'flagsmith-warehouse[spark]'` (docs/scale.md); missing: "
            f"{', '.join([*missing, *([] if shutil.which('java') else ['java'])])}. Nothing was built."
        )


def _is_installed(name: str) -> bool:
    with contextlib.suppress(ModuleNotFoundError):
        return importlib.util.find_spec(name) is not None
    return False


def _variables(settings: Settings, given: dict) -> dict:
    """The vars for Spark, which reads no files of the project: cohorts as a list. Raises SparkError for a folder of outcomes."""
    project = dbt.project_of(settings)
    known = dict(given)
    ours = dbt.our_vars(project) | given
    if isinstance(cohorts := ours.get("cohorts"), str):
        try:
            known["cohorts"] = yaml.safe_load((project / cohorts).read_text(encoding="utf-8")) or []
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SparkError(
                f"{project / cohorts} cannot be read: {first_line(error)}. Nothing was built."
            ) from error
    outcomes = ours.get("conversion_events")
    if isinstance(outcomes, str) and outcomes.strip().endswith("/"):
        files = [
            path for path in (project / outcomes).rglob("*") if path.suffix in (".csv", ".gz", ".parquet")
        ]
        if files:
            raise SparkError(
                f"vars: conversion_events is the folder {outcomes}, and Spark reads outcomes from a table only. Nothing was "
                "built. Load them into a table of the catalogue, and name it: conversion_events: analytics.events"
            )
        known["conversion_events"] = None
    return known


@contextlib.contextmanager
def _scratch(settings: Settings) -> Iterator[Settings]:
    """Settings with a folder for this refresh as the folder of the warehouse. Removed afterwards, because it names people."""
    folder = settings.spark_dir / "publishing"
    shutil.rmtree(folder, ignore_errors=True)  # of a refresh that was killed
    make_folder(folder)
    try:
        yield replace(settings, warehouse_dir=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(
    settings: Settings, copied: Settings, manifest: "Manifest", most_rows: int, known: list[str]
) -> tuple[tuple[str, ...], Retention]:
    """Copy the tables into the scratch warehouse. Returns sentences about those that are not copied, and what retention did."""
    folder = copied.warehouse_dir / "tables"
    arguments = {"folder": str(folder), "most_rows": most_rows}
    outcome = dbt.run(
        settings,
        "run-operation",
        "flagsmith_warehouse.export_tables",
        "--args",
        json.dumps(arguments),
        *TARGET,
        *known,
    )
    if not outcome.success:
        raise publish.PublishError(
            f"Spark has built the marts, but could not write them out: {dbt.reason(outcome)}"
        )
    nodes = {(node.schema, node.alias): node for node in manifest.nodes.values()}
    left = []
    with contextlib.closing(duckdb.connect(copied.warehouse_file)) as warehouse:
        warehouse.execute("set timezone = 'UTC'")
        warehouse.execute("create schema landing")
        warehouse.execute(relations.RECORD.replace("dbt_relations", "landing.dbt_relations"))
        listed = warehouse.execute(f"from read_parquet({publish.text(f'{folder}/listed/*.parquet')})")
        for schema, identifier, layer, model, fault, rows, is_copied in listed.fetchall():
            if not is_copied:
                why = f"its column {fault}, which" if fault else f"it has {rows:,} rows, which"
                left.append(f"{schema}.{identifier} stays in the lake: {why} is not published.")
                continue
            try:
                _copy_table(warehouse, folder, nodes[schema, identifier])
            except duckdb.Error as error:
                fault = f"{schema}.{identifier} cannot be read by DuckDB: {first_line(error)}"
                if layer != "own":
                    raise publish.PublishError(f"{fault}. Nothing was published.") from error
                left.append(
                    f"{fault}. It is one of your own models, so it is left out of the published copy."
                )
                continue
            warehouse.execute(
                "insert into landing.dbt_relations values (?, ?, ?, ?)", [schema, identifier, layer, model]
            )
        retention = _retention(warehouse, folder)
    shutil.rmtree(folder)
    return tuple(left), retention


def _retention(warehouse: duckdb.DuckDBPyConnection, folder: Path) -> Retention:
    """Read what Spark has written about retention (macros/engine/export_tables.sql)."""

    def read(what: str) -> list[dict]:
        if not any((folder / what).glob("*.parquet")):
            return []
        return relations.rows_of(
            warehouse.execute(f"from read_parquet({publish.text(f'{folder}/{what}/*.parquet')})")
        )

    rows = sorted(read("last_pruning"), key=lambda row: row["environment"] or "")
    old = read("old_deliveries")
    return Retention(
        said=in_words(rows),
        kept_history={row["model"]: row["kept_before"][:10] for row in read("kept_history")},
        # A URL: …/day=2026-05-03/hour=14/9190a823d71c.parquet
        paths=sorted({unquote("/".join(row["file"].rsplit("/", 3)[1:])) for row in old}),
        cutoffs={
            row["environment"]: row["pruned_before"].astimezone(UTC).replace(tzinfo=None) for row in old
        },
    )


def _copy_table(warehouse: duckdb.DuckDBPyConnection, folder: Path, node) -> None:
    """Read the files of one table, with the types of its contract, and write its descriptions. Raises PublishError."""
    files = f"read_parquet({publish.text(f'{folder}/{node.schema}.{node.alias}/*.parquet')})"
    there = {row[0]: row[1] for row in warehouse.execute(f"describe from {files}").fetchall()}
    promised = {name: column.data_type for name, column in node.columns.items() if column.data_type}
    if node.config.contract.enforced and (wrong := promised.keys() ^ there.keys()):
        raise publish.PublishError(
            f"{node.name} breaks its contract on Spark, so nothing was published: {', '.join(sorted(wrong))}"
        )
    columns = [
        f"cast({publish.name(column)} as {promised.get(column, _plain(type))}) as {publish.name(column)}"
        for column, type in there.items()
    ]
    table = publish.name(node.schema, node.alias)
    warehouse.execute(f"create schema if not exists {publish.name(node.schema)}")
    try:
        warehouse.execute(f"create table {table} as select {', '.join(columns)} from {files}")  # noqa: S608
    except duckdb.Error:
        for column, type in zip(columns, there.values(), strict=True):
            _read_column(warehouse, column, type, files)
        raise
    if node.description:
        warehouse.execute(f"comment on table {table} is {publish.text(node.description)}")
    for name, column in node.columns.items():
        if name in there and column.description:
            warehouse.execute(
                f"comment on column {table}.{publish.name(name)} is {publish.text(column.description)}"
            )


def _read_column(warehouse: duckdb.DuckDBPyConnection, column: str, type: str, files: str) -> None:
    """Read one column. Raises duckdb.Error that names it."""
    try:
        warehouse.execute(f"select max(hash(given)) from (select {column} from {files}) as given")  # noqa: S608
    except duckdb.Error as error:
        raise duckdb.Error(f"{column}, which is {type} in Spark's file: {first_line(error)}") from error


def _plain(type: str) -> str:
    """A type as DuckDB's models have it: Spark's timestamp is a moment, theirs is one in UTC without a zone."""
    return "timestamp" if type == "TIMESTAMP WITH TIME ZONE" else type


def _prepare(copied: Settings, known: list[str], verbose: bool) -> dict[str, str]:
    """Create the table functions of the marts. Returns the queries of the alerts that depend on the clock."""
    target = [*known, "--target-path", str(copied.warehouse_dir / "target")]
    target += ["--log-path", str(copied.warehouse_dir)]
    functions = dbt.run(
        copied, "run-operation", "flagsmith_warehouse.run_as_of_functions", *target, verbose=verbose
    )
    compiled = dbt.run(copied, "compile", "--select", *alerts.CHECKS, *target, verbose=verbose)
    for outcome in (functions, compiled):
        if not outcome.success:
            raise publish.PublishError(f"The marts of Spark could not be published: {dbt.reason(outcome)}")
    return alerts.queries_of(Built(outcome=compiled))
