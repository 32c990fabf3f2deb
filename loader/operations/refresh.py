"""Builds and tests the marts with dbt, and says what retention did."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import duckdb
import yaml

from flagsmith_warehouse.loader import LoaderError
from flagsmith_warehouse.loader.operations import additions, dbt, declarations
from flagsmith_warehouse.loader.operations.relations import rows_of
from flagsmith_warehouse.loader.settings import Settings
from flagsmith_warehouse.loader.text import counted, first_line

if TYPE_CHECKING:
    from dbt.cli.main import dbtRunnerResult
    from dbt.contracts.graph.manifest import Manifest

KEPT = """
select model, kept_before from {}
where kept_before is not null
qualify recording = max(recording) over (partition by model) order by model
"""
PRUNING = "select schema_name from duckdb_tables() where table_name = 'last_pruning'"
PROGRESS = "select schema_name from duckdb_tables() where table_name = 'build_progress'"
CHECKS = ("test", "unit_test")


class BuildError(LoaderError):
    """dbt did not build everything. Models that it built stay; the next refresh tries the rest again."""


class FailedTests(BuildError):
    """Tests of new deliveries found rows. A complete build decides whether they are wrong."""


@dataclass(frozen=True)
class Request:
    """The options of `refresh` that are passed on to dbt."""

    select: tuple[str, ...] = ()
    variables: str | None = None
    full_refresh: bool = False
    verbose: bool = False

    def arguments(self) -> list[str]:
        chosen = ["--select", *self.select] if self.select else []
        return [*chosen, *(["--full-refresh"] if self.full_refresh else [])]

    def vars(self) -> dict:
        """The vars in `--vars`, parsed as dbt does. Raises BuildError if the text is not a mapping."""
        try:
            found = yaml.safe_load(self.variables or "{}")
        except yaml.YAMLError:
            found = None
        if not isinstance(found, dict):
            raise BuildError(
                f"--vars {self.variables} is not of the form '{{name: value}}'. Nothing was done."
            )
        return found


@dataclass(frozen=True)
class Built:
    """What dbt built and tested, and the seconds that each took."""

    models: int = 0
    checks: Counter = field(default_factory=Counter)
    model_seconds: float = 0.0
    check_seconds: float = 0.0
    outcome: "dbtRunnerResult | None" = None

    def results(self) -> list:
        """What dbt says of each model and test."""
        return dbt.results(self.outcome)

    def __str__(self) -> str:
        warned = sum(self.checks.values()) - self.checks["pass"]
        return f"{self.models} models built; {self.checks.total()} tests, {warned} with a warning"


def build(settings: Settings, request: Request = Request(), manifest: "Manifest | None" = None) -> Built:
    """Run `dbt build` on the warehouse of `settings`. Raises BuildError.

    Unit tests are left to `make test`, because they test the models, not the data.
    """
    # loader/operations/declarations.py has loaded the declarations already, even from files that dbt could not read.
    package = declarations.declaring(manifest) if manifest else dbt.PACKAGE
    seeds = [f"resource_type:seed,package:{package},{name}" for name in declarations.NAMES]
    arguments = ["--exclude-resource-type", "unit_test", "--exclude", *seeds, *request.arguments()]
    known = declarations.variables(settings, request.vars())
    return built_by(
        dbt.run(settings, "build", *arguments, *known, manifest=manifest, verbose=request.verbose)
    )


def build_additions(settings: Settings, planned: dict) -> tuple[Built, list[additions.Found]]:
    """Build what new deliveries change, and test their rows. Returns the tests with warnings.

    Raises FailedTests, or BuildError if dbt fails.
    """
    # The manifest is as before, and writing it again takes half a second.
    # Cautious: a test of the host is left out only if all its models are.
    arguments = ["--exclude-resource-types", "unit_test", "seed", "--no-write-json"]
    arguments += ["--indirect-selection", "cautious", "--exclude"]
    built = built_by(
        dbt.run(
            settings, "build", *arguments, *additions.left_out(planned), *declarations.variables(settings)
        )
    )
    before = time.monotonic()
    try:
        found = additions.run_tests(settings.warehouse_file, planned)
    except duckdb.Error as error:
        raise FailedTests(f"Tests of the new deliveries could not be run: {first_line(error)}") from None
    if failed := [each for each in found if each.severity == "error"]:
        lines = [
            f"{each.test}: {each.rows} rows; look at them: dbt test --select {each.test}" for each in failed
        ]
        raise FailedTests("\n".join(["Tests of the new deliveries failed.", *lines]))
    checks = built.checks + Counter({"pass": len(planned["tests"]) - len(found), "warn": len(found)})
    seconds = built.check_seconds + time.monotonic() - before
    return replace(built, checks=checks, check_seconds=seconds), found


def built_by(outcome: "dbtRunnerResult") -> Built:
    """What dbt has done. Raises BuildError if it failed."""
    if not outcome.success:
        raise BuildError(f"dbt build failed. Models that it built stay.\n{dbt.reason(outcome)}")
    results = dbt.results(outcome)
    tested = [result for result in results if str(result.node.resource_type) in CHECKS]
    models = [result for result in results if str(result.node.resource_type) in ("model", "seed", "snapshot")]
    elapsed = getattr(outcome.result, "elapsed_time", 0.0)
    busy = sum(result.execution_time for result in results) or 1.0
    return Built(
        models=len(models),
        checks=Counter(str(result.status) for result in tested),
        # Models and tests run in parallel: each gets its share of the total time.
        model_seconds=elapsed * sum(result.execution_time for result in models) / busy,
        check_seconds=elapsed * sum(result.execution_time for result in tested) / busy,
        outcome=outcome,
    )


def kept_history(settings: Settings) -> dict[str, str]:
    """Return the models with rows from an earlier logic, each with the day before which its rows are.

    A model keeps such rows if retention has pruned their deliveries: see docs/privacy.md.
    """
    if not settings.warehouse_file.exists():
        return {}
    kept = {}
    with duckdb.connect(settings.warehouse_file, read_only=True) as warehouse:
        for (schema,) in warehouse.execute(PROGRESS).fetchall():
            try:
                rows = warehouse.execute(KEPT.format(f'"{schema}".build_progress')).fetchall()
            except duckdb.BinderException:  # written by an earlier release
                continue
            kept |= {model: str(before.date()) for model, before in rows}
    return kept


def pruning_in_words(settings: Settings) -> list[str]:
    """Sentences about what retention did at the end of the last build, and why it kept something. Empty without retention."""
    with duckdb.connect(settings.warehouse_file, read_only=True) as warehouse:
        rows = []
        for (schema,) in warehouse.execute(PRUNING).fetchall():
            rows += rows_of(warehouse.execute(f'from "{schema}".last_pruning order by environment'))
    return in_words(rows)


def in_words(rows: list[dict]) -> list[str]:
    """Sentences about rows of `last_pruning` (macros/retention/last_pruning.sql)."""
    lines = [line for row in rows for line in _pruned(row)]
    if rows and not lines:
        lines = [f"Retention deleted nothing: no delivery is older than {rows[0]['retention_days']} days."]
    return lines


def _pruned(row: dict) -> Iterator[str]:
    if row["why"]:
        yield f"Retention deleted nothing: {row['why']}."
    if row["deliveries"]:
        verb = "would delete" if row["is_dry_run"] else "deleted"
        yield (
            f"Retention {verb} {counted(row['deliveries'], 'delivery', 'deliveries')} of {row['environment']} from before "
            f"{row['pruned_before']:%Y-%m-%d}."
        )
    if row["kept"] and row["held_by"]:
        yield (
            f"Retention keeps {counted(row['kept'], 'delivery', 'deliveries')} of {row['environment']} from before "
            f"{row['wanted_before']:%Y-%m-%d}: the experiment {row['held_by']} began on {row['held_from']:%Y-%m-%d}."
        )
