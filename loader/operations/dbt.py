"""Runs dbt in this process, on the project of the settings, and finds that project and its vars.

dbt takes a second to import, so it is imported only when it is needed.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from flagsmith_warehouse.loader import LoaderError
from flagsmith_warehouse.loader.settings import PROJECT_DIR, PROJECT_FOLDER, WAREHOUSE_DIR, Settings

if TYPE_CHECKING:
    from dbt.cli.main import dbtRunnerResult
    from dbt.contracts.graph.manifest import Manifest

PACKAGE = "flagsmith_warehouse"


class DbtError(LoaderError):
    """dbt failed. The message says why."""


def project_of(settings: Settings) -> Path:
    """The folder of the project. Raises DbtError if there is none."""
    if settings.project_dir is None:
        raise DbtError(
            "There is no project here. Make one with `flagsmith-warehouse init my-warehouse`, and work in it; or name it "
            f"in {PROJECT_DIR.name} or --project-dir."
        )
    return settings.project_dir


def document_of(folder: Path) -> dict:
    """The content of the folder's dbt_project.yml; empty if it cannot be read, because dbt itself says why."""
    try:
        document = yaml.safe_load((folder / "dbt_project.yml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return document if isinstance(document, dict) else {}


def vars_of(folder: Path) -> dict:
    """The vars of the project: the global ones, and under the name of each package those of that package."""
    given = document_of(folder).get("vars")
    return given if isinstance(given, dict) else {}


def our_vars(folder: Path) -> dict:
    """The vars of the project as our models see them."""
    given = vars_of(folder)
    ours = given.get(PACKAGE)
    return given | (ours if isinstance(ours, dict) else {})


def run(
    settings: Settings, *arguments: str, manifest: "Manifest | None" = None, verbose: bool = False
) -> "dbtRunnerResult":
    """Run a dbt command on the project, then close the warehouse. dbt prints only if `verbose`.

    It is for the target of DuckDB, unless the arguments name a target.
    """
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    folder = project_of(settings)
    link_package(folder)
    os.environ[WAREHOUSE_DIR.name] = str(settings.warehouse_dir)
    where = ["--project-dir", str(folder)]
    if (folder / "profiles.yml").exists():
        where += ["--profiles-dir", str(folder)]
    if not verbose:
        where += ["--log-level", "none"]
    if "--target" not in arguments:
        where += _duckdb_target(folder)
    if not sys.stdout.isatty():
        where += ["--no-use-colors"]  # no codes in cron's mail
    try:
        runner = dbtRunner()
        if manifest is not None:
            runner.manifest = manifest
        return runner.invoke([*arguments, *where])
    finally:
        if DuckDBConnectionManager._ENV is not None:
            DuckDBConnectionManager.close_all_connections()  # dbt keeps the warehouse open after a run


def _duckdb_target(folder: Path) -> list[str]:
    """Arguments that choose the first target of DuckDB, if the project's own profile has another kind of target as its default."""
    try:
        profiles = yaml.safe_load((folder / "profiles.yml").read_text(encoding="utf-8"))
        profile = profiles[document_of(folder)["profile"]]
        kinds = {name: output["type"] for name, output in profile["outputs"].items()}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return []  # dbt finds the profile elsewhere, or says what is wrong with it
    if kinds.get(profile.get("target", "default"), "duckdb") == "duckdb":
        return []
    return next((["--target", name] for name, kind in kinds.items() if kind == "duckdb"), [])


def parse(settings: Settings, *arguments: str, verbose: bool = False) -> "Manifest":
    """The manifest of the project. Raises DbtError with dbt's reason if dbt cannot parse it."""
    outcome = run(settings, "parse", "--no-write-json", *arguments, verbose=verbose)
    if not outcome.success:
        raise DbtError(f"dbt cannot read the project in {settings.project_dir}: {reason(outcome)}")
    return outcome.result


def reason(outcome: "dbtRunnerResult") -> str:
    """Why dbt failed: its exception, or each failed model or test with its message."""
    if outcome.exception:
        return str(outcome.exception).strip()
    return "\n".join(_failures(outcome)) or "it gave no reason; see logs/dbt.log"


def results(outcome: "dbtRunnerResult | None") -> list:
    """What dbt says of each model and test."""
    return list(getattr(getattr(outcome, "result", None), "results", None) or [])


def _failures(outcome: "dbtRunnerResult") -> Iterator[str]:
    for result in results(outcome):
        if str(result.status) in ("error", "fail", "runtime error", "partial success"):
            yield f"{result.node.name}: {(result.message or '').strip()}"


def link_package(project: Path) -> None:
    """Link our models into the project from where this release is installed, as `dbt deps` would do.

    So nobody needs `dbt deps` after an upgrade or on another machine. A copy that somebody has put there is left alone.
    """
    link = project / "dbt_packages" / PACKAGE
    if project == PROJECT_FOLDER or (link.exists() and not link.is_symlink()):
        return
    if link.is_symlink() and link.resolve() == PROJECT_FOLDER:
        return
    with contextlib.suppress(FileNotFoundError):
        link.unlink()
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(PROJECT_FOLDER, target_is_directory=True)
