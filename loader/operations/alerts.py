"""Alerts, one JSON line each: silence, delays and quarantines, declarations, experiments, tests.

The checks that depend on the wall clock are dbt tests of severity `warn` whose rows have the columns of an alert. The record of
the refresh keeps their compiled SQL, so that they also run when there is nothing to build.
"""

import contextlib
import json
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from flagsmith_warehouse.loader.operations import relations, status
from flagsmith_warehouse.loader.settings import ALERT_COMMAND

if TYPE_CHECKING:
    from flagsmith_warehouse.loader.operations.declarations import Problem
    from flagsmith_warehouse.loader.operations.refresh import Built

CHECKS = (
    "assert_no_environment_is_unusually_silent",
    "assert_few_deliveries_are_quarantined",
    "assert_deliveries_are_landed_soon",
)
# The marts give its problems one by one.
OF_DECLARATIONS = "assert_declarations_are_right"
DECLARATIONS = "declarations"
# The checks of experiments begin so.
OF_EXPERIMENTS = "experiment_"
EXPERIMENTS = """
select experiments.environment, health.experiment_key, health.check_name, health.status, health.message
from marts.fct_experiment_health as health
inner join marts.dim_experiments as experiments on health.experiment_key = experiments.experiment_key
where experiments.status = 'running' and health.status <> 'ok' order by all
"""
# Experiments whose declared end has passed on the wall clock, and not yet on the clock of their data.
ENDED = """
select environment, experiment_key, ended_at, last_received_at from marts.dim_experiments
where status = 'running' and ended_at <= ? order by all
"""
SECONDS_FOR_A_HOOK = 30


@dataclass(frozen=True)
class Alert:
    """What is wrong and where, the value and the usual value, and what to do."""

    at: str
    environment: str | None
    check: str
    severity: str
    value: float | str | None
    usual: float | str | None
    message: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.environment}: " if self.environment else ""
        return (
            f"{self.severity}: {place}{self.message.rstrip('.')}. {self.remedy[:1].upper()}{self.remedy[1:]}."
        )


def queries_of(built: "Built") -> dict[str, str]:
    """The compiled SQL of the checks that depend on the wall clock, by name."""
    found = {result.node.name: getattr(result.node, "compiled_code", None) for result in built.results()}
    return {name: found[name] for name in CHECKS if found.get(name)}


def by_the_clock(warehouse_file: Path, queries: dict[str, str]) -> Iterator[Alert]:
    """The alerts that these checks raise now. The caller holds the lock of the warehouse."""
    if not queries:
        return
    with contextlib.closing(duckdb.connect()) as connection:
        connection.execute("attach ? as warehouse (read_only)", [str(warehouse_file)])
        connection.execute("use warehouse")
        for check, query in queries.items():
            for cells in relations.rows_of(connection.execute(query)):
                chosen = {
                    name: cells[name] for name in ("environment", "value", "usual", "message", "remedy")
                }
                yield Alert(at=_now(), check=check, severity="warning", **chosen)


def carried_over(record: dict, run_now: set[str] | frozenset[str] = frozenset()) -> list[Alert]:
    """The alerts of an earlier refresh that neither the clock, nor declarations, nor experiments, nor these checks tell anew."""
    kept = (Alert(**each) for each in record.get("alerts") or [])
    return [
        alert
        for alert in kept
        if alert.check not in {*CHECKS, *run_now, DECLARATIONS} and not alert.check.startswith(OF_EXPERIMENTS)
    ]


def of_tests(built: "Built") -> Iterator[Alert]:
    """The other tests that found something."""
    for result in built.results():
        if str(result.node.resource_type) != "test" or str(result.status) == "pass":
            continue
        if result.node.name not in (*CHECKS, OF_DECLARATIONS):
            yield of_test(result.node.name, result.failures)


def of_test(name: str, rows: int) -> Alert:
    """The alert of a test that found rows."""
    message = f"the test {name} found {rows} rows"
    remedy = f"look at them: dbt test --select {name} --store-failures"
    return Alert(_now(), None, name, "warning", rows, 0, message, remedy)


def of_declarations(problems: list["Problem"]) -> Iterator[Alert]:
    """One alert for each problem in the declarations."""
    for problem in problems:
        row = f"row {problem.row_number}" if problem.row_number else None
        place = ", ".join(filter(None, (problem.declared_in, row, problem.column_name)))
        message = f"{place}: {problem.problem}"
        yield Alert(_now(), None, DECLARATIONS, problem.severity, problem.cell, None, message, problem.remedy)


def of_experiments(file: Path) -> Iterator[Alert]:
    """One alert for each failing check of a running experiment, and for each whose declared end has passed since its last webhook."""
    with relations.open_copy(file) as copy:
        there = {
            name for (name,) in copy.execute("select table_name from information_schema.tables").fetchall()
        }
        if not {"fct_experiment_health", "dim_experiments"} <= there:
            return
        for environment, experiment, check, severity, message in copy.execute(EXPERIMENTS).fetchall():
            remedy = "see fct_experiment_health, and docs/experiments.md"
            yield Alert(
                _now(),
                environment,
                OF_EXPERIMENTS + check,
                severity,
                experiment,
                None,
                f"{experiment}: {message}",
                remedy,
            )
        for environment, experiment, ended_at, last in copy.execute(ENDED, [status.wall_clock()]).fetchall():
            yield Alert(
                _now(),
                environment,
                OF_EXPERIMENTS + "ended",
                "warning",
                experiment,
                None,
                f"{experiment}: {status.ENDED}, at {ended_at:%Y-%m-%d %H:%M} UTC; no webhook has come since {last:%Y-%m-%d %H:%M}, so its "
                "figures are not final",
                f"they are with the next webhook from {environment}; if none comes, find out why",
            )


def tell(alerts: list[Alert], on_failure: Callable[[str], None]) -> None:
    """Run FLAGSMITH_ALERT_COMMAND for each alert, with one JSON line on standard input.

    If it fails, the remaining alerts are not sent, but the refresh goes on.
    """
    command = os.environ.get(ALERT_COMMAND.name, "").strip()
    if not command:
        return
    for alert in alerts:
        try:
            subprocess.run(  # noqa: S603 -- whoever sets it may run commands here anyway
                shlex.split(command),
                input=line_of(alert) + "\n",
                text=True,
                timeout=SECONDS_FOR_A_HOOK,
                check=True,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            on_failure(
                f"{ALERT_COMMAND.name} failed, so nobody was told: {error}. `status --json` has the alerts."
            )
            return


def line_of(alert: Alert) -> str:
    return json.dumps(asdict(alert), default=str)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
