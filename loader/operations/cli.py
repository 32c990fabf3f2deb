"""The commands: `flagsmith-warehouse --help`. Each command imports the modules it needs when it runs."""

import contextlib
import importlib
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

import click

from flagsmith_warehouse.loader import LoaderError, lock
from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.loader.filesystem import keep_private
from flagsmith_warehouse.loader.log import LOG
from flagsmith_warehouse.loader.operations.maintenance import target
from flagsmith_warehouse.loader.settings import Settings
from flagsmith_warehouse.loader.text import printable

if TYPE_CHECKING:
    from flagsmith_warehouse.loader.landing.land import Landed
    from flagsmith_warehouse.loader.operations.alerts import Alert
    from flagsmith_warehouse.loader.operations.declarations import Problem
    from flagsmith_warehouse.loader.operations.refresh import Built, Request

# What a refresh that builds nothing keeps of the record of the one before.
KEPT = (
    *("built", "built_at", "built_from", "additions", "published", "kept_history"),
    *("problems", "alert_queries"),
)
# The exit code if everything was done but there are mistakes in declarations.
WITH_PROBLEMS = 3


class Commands(click.Group):
    """The commands below, and those of other modules, which are imported when they are called."""

    lazy = {  # noqa: RUF012 -- never changed
        "aa": "flagsmith_warehouse.loader.operations.ask:aa",
        "compact": "flagsmith_warehouse.loader.operations.maintenance:compact",
        "doctor": "flagsmith_warehouse.loader.operations.maintenance:doctor",
        "experiment": "flagsmith_warehouse.loader.operations.ask:experiment",
        "hash": "flagsmith_warehouse.loader.operations.hashing:hash_names",
        "erase": "flagsmith_warehouse.loader.operations.maintenance:erase",
        "publish": "flagsmith_warehouse.loader.operations.maintenance:publish",
        "status": "flagsmith_warehouse.loader.operations.maintenance:status",
        "init": "flagsmith_warehouse.loader.operations.init:init",
        "docs": "flagsmith_warehouse.loader.operations.explore:docs",
        "notebook": "flagsmith_warehouse.loader.operations.explore:notebook",
        "report": "flagsmith_warehouse.notebooks.report:main",
        "demo": "flagsmith_warehouse.simulator.demo:demo",
        "simulate": "flagsmith_warehouse.simulator.cli:simulate",
    }

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted([*super().list_commands(context), *self.lazy])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        command = self._find_command(context, name)
        if command is not None:
            _add_project_dir(command)
        return command

    def _find_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.lazy:
            return super().get_command(context, name)
        module, command = self.lazy[name].split(":")
        try:
            return getattr(importlib.import_module(module), command)
        except ModuleNotFoundError as error:
            if not str(error.name).startswith(module.rpartition(".")[0]):
                raise
            return None

    def main(self, *arguments, **options) -> object:
        keep_private()
        for stream in (
            sys.stdout,
            sys.stderr,
        ):  # cron's encoding may be ASCII or Latin-1: other letters are escaped
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        return super().main(*arguments, **options)

    def invoke(self, context: click.Context) -> object:
        """Report known errors in one line, without a traceback."""
        try:
            return super().invoke(context)
        except (LoaderError, OSError) as error:
            raise click.ClickException(printable(str(error))) from error


def _project_dir() -> click.Option:
    """`--project-dir`, the same as setting FLAGSMITH_PROJECT_DIR for this one command."""
    return click.Option(
        ["--project-dir"],
        metavar="FOLDER",
        expose_value=False,
        callback=_choose_project,
        help=f"The folder of your project.  [default: {settings_module.PROJECT_DIR.name}, or the one around the current folder]",
    )


def _choose_project(context: click.Context, _: click.Parameter, folder: str | None) -> None:
    if folder is None:
        return
    name, before = settings_module.PROJECT_DIR.name, os.environ.get(settings_module.PROJECT_DIR.name)
    os.environ[name] = folder
    context.meta[name] = folder

    def put_back() -> None:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before

    context.call_on_close(put_back)


def _add_project_dir(command: click.Command) -> None:
    """Add the option to the command and all its subcommands. It may come before or after the command's name."""
    if not any("--project-dir" in option.opts for option in command.params):
        command.params.append(_project_dir())
    for below in getattr(command, "commands", {}).values():
        _add_project_dir(below)


@click.group(cls=Commands, params=[_project_dir()])
def main() -> None:
    """Flagsmith's webhooks in your own warehouse: received, kept safe, landed, built into marts."""


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="The port.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="Web processes.")
def serve(host: str, port: int, workers: int) -> None:
    """Receive webhooks at http://HOST:PORT/webhooks/ENVIRONMENT until told to stop."""
    from flagsmith_warehouse.loader.receive import server as serve

    serve.serve(host, port, workers, check=_warn_of_privacy)


@main.command()
@click.option(
    "--from",
    "captures",
    metavar="FILE...",
    multiple=True,
    type=click.File("rb"),
    help="Land captured webhooks too: one JSON object per line with received_at, path, headers, body "
    "(- is standard input). No capture is landed twice.",
)
@click.option(
    "--environment",
    metavar="NAME",
    help="Environment for captures whose path does not name one; not needed if only one is configured.",
)
@click.option(
    "--to",
    "url",
    metavar="URL",
    help="Land to Parquet files on object storage, or in a folder, instead (s3://bucket/prefix, file:///folder): "
    "docs/scale.md. From then on a webhook leaves the inbox only when the warehouse has it, too.",
)
@click.option(
    "--only",
    is_flag=True,
    help="From now on a webhook leaves the inbox once it is landed in this place; other places no longer get it.",
)
@click.argument("more_captures", nargs=-1, type=click.File("rb"), metavar="")
def land(
    captures: tuple[BinaryIO, ...],
    environment: str | None,
    url: str | None,
    only: bool,
    more_captures: tuple[BinaryIO, ...],
) -> None:
    """Move webhooks from the inbox, and captures from files, into the warehouse."""
    settings = settings_module.read()
    if not captures and (more_captures or environment):
        raise click.UsageError("Name the files of captures: --from FILE...")
    if url is not None:
        if captures:
            raise click.UsageError("Captures can only be landed in the warehouse: use --from without --to.")
        _fail_if_unreadable(_land_to(settings, url, only))
        return
    with lock.hold(settings.warehouse_lock, settings.lock_timeout_seconds, _say):
        landed = _land(settings, only)
        if captures:
            landed.unreadable += _replay(settings, [*captures, *more_captures], environment).unreadable
    _fail_if_unreadable(landed)


def _replay(settings: Settings, files: list[BinaryIO], environment: str | None) -> "Landed":
    from flagsmith_warehouse.loader.landing.captures import replay

    replayed = replay(settings, files, environment, on_wait=_say)
    click.echo(f"Landed {replayed.deliveries:,} captures that were not there yet.")
    return replayed


@main.command()
@click.option(
    "--select", multiple=True, metavar="NODES", help="Build only these; as dbt's --select. May repeat."
)
@click.option("--vars", "variables", metavar="YAML", help="Vars for this run; as dbt's --vars.")
@click.option(
    "--full-refresh", is_flag=True, help="Build everything from the landing; as dbt's --full-refresh."
)
@click.option("-v", "--verbose", is_flag=True, help="Show what dbt prints.")
@target("Where to build. spark: from the files of `land --to`, in Iceberg tables (docs/scale.md).")
@click.option(
    "--most-rows",
    metavar="ROWS",
    type=click.IntRange(0),
    help="With --target spark: tables with more rows are not published, and stay in the lake.  [default: 5,000,000]",
)
def refresh(
    select: tuple[str, ...],
    variables: str | None,
    full_refresh: bool,
    verbose: bool,
    target: str,
    most_rows: int | None,
) -> None:
    """Land, build the marts, publish them. For cron: exits at once if another refresh is running.

    Exits with 3 if everything was published but there are mistakes in declarations (see `check`).
    """
    from flagsmith_warehouse.loader.operations.refresh import Request

    request = Request(
        tuple(word for each in select for word in each.split()), variables, full_refresh, verbose
    )
    is_of_spark = target == "spark"
    if most_rows is not None and not is_of_spark:
        raise click.UsageError("--most-rows is for --target spark: from DuckDB, every table is published.")
    started = time.monotonic()
    settings = settings_module.read()
    request.vars()
    with contextlib.ExitStack() as locks:
        try:
            locks.enter_context(lock.hold(settings.refresh_lock, timeout_seconds=0))
        except lock.StillHeld:
            click.echo("Another refresh is running, so this one does nothing.")
            return
        problems, done = (
            _refresh_on_spark(settings, request, most_rows) if is_of_spark else _refresh(settings, request)
        )
    click.echo(
        f"Refreshed {'on Spark ' if is_of_spark else ''}in {time.monotonic() - started:.1f} s: {done}."
    )
    _tell(problems)


def _refresh_on_spark(
    settings: Settings, request: "Request", most_rows: int | None
) -> tuple[list["Problem"], str]:
    """Build and publish what Spark has. Returns the problems in declarations, and what was done."""
    from flagsmith_warehouse.loader.operations import spark
    from flagsmith_warehouse.loader.operations.status import last_refresh, recorded_refresh

    most_rows = spark.MOST_ROWS if most_rows is None else most_rows
    kept_before = (last_refresh(settings) or {}).get("kept_history") or {}
    with recorded_refresh(settings, target="spark", most_rows=most_rows) as record:
        record["kept_history"] = kept_before
        done = spark.refresh(settings, request, most_rows, _say)
        record |= {"built": str(done.built), "published": str(done.published), "published_from": "spark"}
        record["problems"] = sum(problem.severity == "problem" for problem in done.problems)
        record |= {"retention": done.retention.said, "kept_history": done.retention.kept_history}
        for line in done.retention.said:
            click.echo(line)
        for line in (*done.left_in_lake, *done.published.left_out):
            _say(line)
        _tell_kept(done.retention.kept_history, kept_before)
        _alert(record, done.alerts, done.problems)
        if done.retention.problem:
            raise spark.SparkError(done.retention.problem)
    return done.problems, f"{done.built}; published {done.published}"


def _refresh(settings: Settings, request: "Request") -> tuple[list["Problem"], str]:
    """Land, build and publish. Returns the problems in declarations, and what was done."""
    from flagsmith_warehouse.loader.operations import unchanged
    from flagsmith_warehouse.loader.operations.status import last_refresh, recorded_refresh

    before = last_refresh(settings)
    with (
        recorded_refresh(settings) as record,
        lock.hold(settings.warehouse_lock, settings.lock_timeout_seconds, _say),
    ):
        seen = unchanged.look(settings)
        landed = _land(settings)
        record["landed"] = landed.deliveries
        is_unchanged = request == type(request)() and unchanged.is_unchanged(seen, before)
        if is_unchanged and not landed.deliveries:
            problems = _look_at_the_clock(settings, before, record)
        else:
            problems = _build_and_publish(settings, request, before if is_unchanged else {}, record)
            if not (request.select or request.variables):
                record["built_from"] = unchanged.record_of(seen, settings, record.pop("variables"))
        _fail_if_unreadable(landed)
    done = f"{landed.deliveries:,} deliveries landed; {record['built']}; published {record['published']}"
    return problems, done


def _look_at_the_clock(settings: Settings, before: dict, record: dict) -> list["Problem"]:
    """Check again the alerts that depend on the time, because there is nothing to build."""
    from flagsmith_warehouse.loader.operations import alerts, declarations

    record |= {name: before[name] for name in KEPT if name in before}
    problems = declarations.problems_in(settings.warehouse_file)
    found = [
        *alerts.by_the_clock(settings.warehouse_file, before.get("alert_queries") or {}),
        *alerts.carried_over(before),
        *alerts.of_experiments(settings.warehouse_file),
    ]
    click.echo("Nothing has changed since the last build, so nothing was built.")
    _alert(record, found, problems)
    return problems


def _build(
    settings: Settings, request: "Request", before: dict, record: dict
) -> tuple["Built", list["Alert"]]:
    """Build what new deliveries change, if the record of the refresh before says how; otherwise everything."""
    from flagsmith_warehouse.loader.operations.refresh import FailedTests

    if before.get("additions"):
        try:
            return _build_additions(settings, before, record)
        except FailedTests as error:
            _say(f"{error}\nSo everything is built and tested now.")
    return _build_everything(settings, request, record)


def _build_everything(settings: Settings, request: "Request", record: dict) -> tuple["Built", list["Alert"]]:
    """Build and test everything that was asked for."""
    from flagsmith_warehouse.loader.operations import (
        additions,
        alerts,
        checks,
        dbt,
        declarations,
        unchanged,
    )
    from flagsmith_warehouse.loader.operations.refresh import build

    known = declarations.variables(settings, request.vars())
    manifest = dbt.parse(settings, *known, verbose=request.verbose)
    checks.refuse_unusable_vars(settings, manifest, request.vars())
    declarations.load(settings, manifest, _say, request.vars())
    built = build(settings, request, manifest)
    record["alert_queries"] = alerts.queries_of(built)
    if not (request.select or request.variables):
        record["built_at"] = time.time()
        record["additions"] = additions.plan(
            manifest, built, settings.warehouse_file, dbt.our_vars(settings.project_dir)
        )
        # The environment variables that the project reads.
        record["variables"] = sorted({*manifest.env_vars, *unchanged.variables_of(settings.project_dir)})
    return built, list(alerts.of_tests(built))


def _build_additions(settings: Settings, before: dict, record: dict) -> tuple["Built", list["Alert"]]:
    """Build what new deliveries change, because nothing else has changed. Problems of what is left out are told again."""
    from flagsmith_warehouse.loader.operations import alerts, unchanged
    from flagsmith_warehouse.loader.operations.refresh import build_additions

    planned = before["additions"]
    record |= {name: before[name] for name in ("built_at", "additions", "alert_queries")}
    record["variables"] = unchanged.left_by(before)["variables"]
    built, found = build_additions(settings, planned)
    # A test that found nothing in the new rows says nothing of the others.
    run_now = {each.test for each in found} | {result.node.name for result in built.results()}
    return built, [
        *alerts.of_tests(built),
        *(alerts.of_test(each.test, each.rows) for each in found),
        *alerts.carried_over(before, run_now),
    ]


def _build_and_publish(settings: Settings, request: "Request", before: dict, record: dict) -> list["Problem"]:
    """Report what was built, tested and published, one line each. Record it, and return the problems in declarations."""
    from flagsmith_warehouse.loader.operations import alerts, declarations, verdicts
    from flagsmith_warehouse.loader.operations.publish import publish
    from flagsmith_warehouse.loader.operations.refresh import kept_history, pruning_in_words

    record["kept_history"] = kept_before = kept_history(settings)
    built, of_tests = _build(settings, request, before, record)
    record["built"] = str(built)
    record["kept_history"] = kept = kept_history(settings)
    click.echo(f"Built {built.models} models in {built.model_seconds:.1f} s.")
    click.echo(f"Tested {built.checks.total()} times in {built.check_seconds:.1f} s.")
    record["retention"] = pruning_in_words(settings)
    for line in record["retention"]:
        click.echo(line)
    problems = declarations.problems_in(settings.warehouse_file)
    found = [
        *alerts.by_the_clock(settings.warehouse_file, record["alert_queries"]),
        *of_tests,
        *alerts.of_experiments(settings.warehouse_file),
    ]
    _alert(record, found, problems)
    record["problems"] = sum(problem.severity == "problem" for problem in problems)
    begun = time.monotonic()
    verdicts.keep_earlier(settings)
    published = publish(settings, _say)
    record |= {"published": str(published), "published_from": "duckdb"}
    click.echo(f"Published {published}, in {time.monotonic() - begun:.1f} s.")
    for relation in published.left_out:
        _say(f"{relation} It is one of your own models, so it is left out of the published copy.")
    _tell_kept(kept, kept_before)
    return problems


def _tell_kept(kept: dict[str, str], kept_before: dict[str, str]) -> None:
    """Say once which models keep rows of an earlier logic."""
    if newly_kept := sorted(kept.keys() - kept_before.keys()):
        _say(
            f"{', '.join(newly_kept)}: rows from before {max(kept.values())} keep an earlier logic, because "
            "retention has deleted the deliveries; what is newer is made by the new logic. See docs/privacy.md."
        )


def _alert(record: dict, found: list["Alert"], problems: list["Problem"]) -> None:
    """Print each alert in one line, record all of them, and run the alert command. Problems come at the end."""
    from flagsmith_warehouse.loader.operations import alerts

    for alert in found:
        _say(str(alert))
    every = [*found, *alerts.of_declarations(problems)]
    record["alerts"] = [json.loads(alerts.line_of(alert)) for alert in every]
    alerts.tell(every, _say)


@main.command()
def check() -> None:
    """List mistakes in declarations: experiments, metrics, cohorts, … Changes nothing.

    Exits with 3 if there are problems. `refresh` leaves those rows out, and builds and publishes the rest.
    """
    from flagsmith_warehouse.loader.operations import declarations

    found = declarations.check(settings_module.read(), _say)
    if not found:
        click.echo("All declarations are correct.")
    _tell(found)


def _tell(problems: list["Problem"]) -> None:
    """Print each problem and warning in one line on stderr. Exit with 3 if there is a problem."""
    for problem in problems:
        _say(str(problem))
    if any(problem.severity == "problem" for problem in problems):
        raise click.exceptions.Exit(WITH_PROBLEMS)


def _land(settings: Settings, only: bool = False) -> "Landed":
    """Land, with a progress bar on a terminal, and report the result in one line."""
    from flagsmith_warehouse.loader.landing.land import land

    started = time.monotonic()
    with _progress(settings) as on_batch:
        landed = land(settings, on_batch, _say, only)
    seconds = time.monotonic() - started
    click.echo(f"Landed {landed.deliveries:,} deliveries, {landed.bytes / 1e6:,.1f} MB, in {seconds:.1f} s.")
    return landed


def _land_to(settings: Settings, url: str, only: bool) -> "Landed":
    from flagsmith_warehouse.loader.landing import lake

    started = time.monotonic()
    with _progress(settings) as on_batch:
        landed = lake.land(settings, url, only, on_batch, _say)
    click.echo(
        f"Landed {landed.deliveries:,} deliveries, {landed.bytes / 1e6:,.1f} MB, in {landed.files} files below {url}, "
        f"in {time.monotonic() - started:.1f} s."
    )
    return landed


def _fail_if_unreadable(landed: "Landed") -> None:
    if landed.unreadable:
        raise LoaderError("\n".join(landed.unreadable))


@contextlib.contextmanager
def _progress(settings: Settings) -> Iterator[Callable[[int], None]]:
    if not sys.stdout.isatty():
        yield lambda deliveries: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from flagsmith_warehouse.loader.inbox.reader import backlog

    depth, _ = backlog(settings.inbox_dir)
    with Progress("Landing", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), transient=True) as bar:
        task = bar.add_task("Landing", total=depth)
        yield lambda deliveries: bar.advance(task, deliveries)


def _warn_of_privacy(settings: Settings) -> None:
    """Log a warning if the privacy rules cannot be used. Webhooks are received all the same."""
    from flagsmith_warehouse.loader.landing import privacy

    try:
        privacy.read(settings.privacy_file, settings.privacy_key)
    except LoaderError as error:
        fields = {"why": str(error)}
        LOG.error("Webhooks are received, but `land` will land none of them", extra={"fields": fields})


def _say(text: str) -> None:
    click.echo(printable(text), err=True)
