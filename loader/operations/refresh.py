"""Land what the inbox holds, then build the marts: one after the other, and never two refreshes at once."""

import os
import sys
from collections import Counter

import duckdb

from flagsmith_warehouse.loader import LoaderError
from flagsmith_warehouse.loader.operations.declarations import NAMES, variables
from flagsmith_warehouse.loader.settings import PROJECT_FOLDER, WAREHOUSE_DIR, Settings

KEPT = """
select model, kept_before from intermediate.build_progress
where kept_before is not null
qualify recording = max(recording) over (partition by model) order by model
"""


class BuildError(LoaderError):
    """dbt has not built everything. What it has built stays; the next refresh tries again."""


def build(settings: Settings) -> str:
    """Run `dbt build` on the warehouse of `settings`; the answer counts the results. Raises BuildError.

    Unit tests are left to `make test`: they say something about the models and nothing about the data.
    """
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    os.environ[WAREHOUSE_DIR.name] = str(settings.warehouse_dir)
    folder = str(PROJECT_FOLDER)
    # Declarations are loaded already (loader/operations/declarations.py), also from files that dbt could not read.
    arguments = [
        "--exclude-resource-type",
        "unit_test",
        "--exclude",
        *NAMES,
        "--project-dir",
        folder,
        "--profiles-dir",
        folder,
        *variables(),
    ]
    try:
        colours = [] if sys.stdout.isatty() else ["--no-use-colors"]  # no codes in cron's mail
        outcome = dbtRunner().invoke(["build", *arguments, *colours])
    finally:
        DuckDBConnectionManager.close_all_connections()  # dbt keeps the warehouse open after a run
    if outcome.exception:
        raise BuildError(f"dbt stopped: {outcome.exception}")
    counts = Counter(str(result.status) for result in outcome.result or [])
    summary = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "nothing to build"
    if not outcome.success:
        raise BuildError(f"dbt build failed ({summary}); what failed is above, and in logs/dbt.log.")
    return summary


def kept_history(settings: Settings) -> dict[str, str]:
    """Return the models that hold history as an earlier logic made it, each with the day up to which they do.

    Such history is there where retention has pruned the deliveries: see docs/privacy.md.
    """
    if not settings.warehouse_file.exists():
        return {}
    with duckdb.connect(settings.warehouse_file, read_only=True) as warehouse:
        try:
            return {model: str(before.date()) for model, before in warehouse.execute(KEPT).fetchall()}
        except (duckdb.CatalogException, duckdb.BinderException):  # not built yet, or by an earlier release
            return {}
