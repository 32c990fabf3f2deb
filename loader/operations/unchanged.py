"""Decides whether there is anything to build. Without new deliveries, there is only if a file or setting has changed.

Files are compared by size and time. A relation outside the warehouse cannot be compared, so it always counts as
changed. Once a day everything is built and tested anyway.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb

from flagsmith_warehouse.loader.operations import dbt
from flagsmith_warehouse.loader.settings import ALERT_COMMAND, PROJECT_FOLDER, SECRETS, Settings

# The files of our own project that dbt and the commands read.
READ = ("dbt_project.yml", "profiles.yml", "models", "macros", "seeds", "tests/warehouse", "loader")
# The parts of the user's project that a build writes or does not read.
NOT_READ = {"target", "logs", "dbt_packages", "deploy", "secrets", "data", "__pycache__"}
RELATION_VARS = (
    *("conversion_events", "experiments", "metrics", "experiment_metrics", "variants", "identity_map"),
    *("test_identities", "experiment_statistics", "landing_database"),
)
# Our environment variables that do not affect a build.
NOT_ABOUT_BUILDS = {SECRETS.name, ALERT_COMMAND.name}
FULL_EVERY_SECONDS = 86_400


def fingerprint(settings: Settings) -> str | None:
    """One hash of everything that a build would read now, except deliveries; None if it cannot be known. If the next refresh
    finds the same hash, there is nothing to build."""
    project = settings.project_dir
    if project is None or not settings.published_file.exists() or not _is_all_in_sight(settings):
        return None
    digest = hashlib.sha256()
    for name, value in sorted(os.environ.items()):
        if name.startswith(("FLAGSMITH_", "DBT_")) and name not in NOT_ABOUT_BUILDS:
            digest.update(f"{name}={value}\0".encode(errors="surrogateescape"))
    for path in _files(settings, project):
        try:
            seen = path.stat()
        except FileNotFoundError:
            continue
        digest.update(
            f"{path} {seen.st_size} {seen.st_mtime_ns} {seen.st_ino}\0".encode(errors="surrogateescape")
        )
    return digest.hexdigest()


def is_unchanged(settings: Settings, record: dict | None) -> bool:
    """True if the refresh of this record was less than a day ago, and nothing has changed since."""
    if not record or record.get("result") != "success" or not record.get("built_from"):
        return False
    age = time.time() - record.get("built_at", 0)
    return 0 <= age < FULL_EVERY_SECONDS and record["built_from"] == fingerprint(settings)


def _files(settings: Settings, project: Path) -> Iterator[Path]:
    warehouse = settings.warehouse_file.resolve()
    yield from (warehouse, Path(f"{warehouse}.wal"), settings.published_file.resolve())
    if settings.privacy_file is not None:
        yield settings.privacy_file
    for name in READ:
        yield from _below(PROJECT_FOLDER / name)
    if project != PROJECT_FOLDER:
        for path in sorted(project.iterdir()):
            if (
                path.name[0] != "."
                and path.name not in NOT_READ
                and path.resolve() != settings.warehouse_dir.resolve()
            ):
                yield from _below(path)
    for name in _relations(project).values():
        if name.endswith("/"):
            yield from _below(project / name)


def _below(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for place, folders, files in os.walk(path):
        folders[:] = sorted(folder for folder in folders if folder not in NOT_READ)
        yield from (Path(place, name) for name in sorted(files))


def _relations(project: Path) -> dict[str, str]:
    """The project's vars that name a relation or a folder."""
    variables = dbt.our_vars(project)
    return {name: str(variables[name]) for name in RELATION_VARS if variables.get(name)}


def _is_all_in_sight(settings: Settings) -> bool:
    """True if every relation that a var names is a folder, or a table of the warehouse itself."""
    named = [name for name in _relations(settings.project_dir).values() if not name.endswith("/")]
    if not named:
        return True
    if not all(re.fullmatch(r"\w+\.\w+", name) for name in named):
        return False
    with duckdb.connect(settings.warehouse_file, read_only=True) as warehouse:
        tables = warehouse.execute(
            "select lower(schema_name || '.' || table_name) from duckdb_tables()"
        ).fetchall()
    return {name.lower() for name in named} <= {table for (table,) in tables}


def carried_over(record: dict, checks_run_now: tuple[str, ...]) -> list[dict]:
    """The alerts of the last refresh that only a build can find anew."""
    is_kept = json.loads(json.dumps(record.get("alerts") or []))
    return [alert for alert in is_kept if alert["check"] not in checks_run_now]
