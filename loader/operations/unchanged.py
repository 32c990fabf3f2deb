"""Decides how much there is to build: everything, or what new deliveries change, or nothing.

Files are compared by size and time. A relation outside the warehouse cannot be compared, so it always counts as
changed. Once a day everything is built and tested anyway.
"""

import hashlib
import importlib.metadata
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

from flagsmith_warehouse.loader.operations import dbt
from flagsmith_warehouse.loader.settings import ALERT_COMMAND, PROJECT_FOLDER, SECRETS, Settings

# The files of our own project that dbt and the commands read.
READ = ("dbt_project.yml", "profiles.yml", "models", "macros", "seeds", "tests/warehouse", "loader")
# The folders at the top of the user's project that a build writes or does not read. (Packages are found apart.)
NOT_READ = {"target", "logs", "dbt_packages", "deploy", "secrets"}
# What else decides how a project is built.
INSTALLED = ("duckdb", "dbt-core", "dbt-duckdb")
CONFIGURED_IN = ("dbt_project.yml", "profiles.yml", "packages.yml", "dependencies.yml")
ENV_VAR = re.compile(r"""\benv_var\(\s*['"](\w+)""")
RELATION_VARS = (
    *("conversion_events", "experiments", "metrics", "experiment_metrics", "variants", "identity_map"),
    *("test_identities", "experiment_statistics", "landing_database", "flagsmith_events_table"),
)
# Our environment variables that do not affect a build.
NOT_ABOUT_BUILDS = {SECRETS.name, ALERT_COMMAND.name}
FULL_EVERY_SECONDS = 86_400


@dataclass(frozen=True)
class Seen:
    """Hashes of the files that a build reads, and of the warehouse with its published copy."""

    read: str
    built: str


def look(settings: Settings) -> Seen | None:
    """What there is now; None without a project."""
    if settings.project_dir is None:
        return None
    return Seen(_hash(map(_state, _files(settings, settings.project_dir))), _built(settings))


def record_of(before: Seen | None, settings: Settings, variables: list[str]) -> dict | None:
    """What the next refresh compares with; None if a change could not be seen.

    `before`: what was seen before the build began, so that an edit made meanwhile is not overlooked. `variables`: the
    environment variables that the project reads, besides ours.
    """
    if before is None or not _is_all_in_sight(settings):
        return None
    return {
        "read": before.read,
        "built": _built(settings),
        "variables": variables,
        "environment": _environment(variables),
    }


def is_unchanged(seen: Seen | None, record: dict | None) -> bool:
    """True if the last complete build was less than a day ago, and all is as the last refresh has left it."""
    left = left_by(record)
    if seen is None or not left or record.get("result") != "success":
        return False
    age = time.time() - record.get("built_at", 0)
    return (
        0 <= age < FULL_EVERY_SECONDS
        and (left.get("read"), left.get("built")) == (seen.read, seen.built)
        and left.get("environment") == _environment(left.get("variables") or [])
    )


def left_by(record: dict | None) -> dict:
    """What the refresh of this record has left behind. (Earlier releases recorded a text.)"""
    left = (record or {}).get("built_from")
    return left if isinstance(left, dict) else {}


def _built(settings: Settings) -> str:
    """One hash of the warehouse and its published copy."""
    warehouse = settings.warehouse_file.resolve()
    return _hash(map(_state, (warehouse, Path(f"{warehouse}.wal"), settings.published_file.resolve())))


def _environment(variables: list[str]) -> str:
    """One hash of what else decides how a project is built: installed packages, and environment variables."""
    said = [f"{name} {importlib.metadata.version(name)}" for name in INSTALLED]
    for name, value in sorted(os.environ.items()):
        is_ours = name.startswith(("FLAGSMITH_", "DBT_")) and name not in NOT_ABOUT_BUILDS
        if is_ours or name in variables:
            said.append(f"{name}={value}")
    return _hash(said)


def _hash(texts: Iterator[str] | list[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(f"{text}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _state(path: Path) -> str:
    try:
        seen = path.stat()
    except FileNotFoundError:
        return f"{path} is missing"
    return f"{path} {seen.st_size} {seen.st_mtime_ns} {seen.st_ino}"


def _files(settings: Settings, project: Path) -> Iterator[Path]:
    if settings.privacy_file is not None:
        yield settings.privacy_file
    for name in READ:
        yield from _below(PROJECT_FOLDER / name)
    if project != PROJECT_FOLDER:
        for path in sorted(project.iterdir()):
            if path.name[0] != "." and path.name not in NOT_READ:
                yield from _below(path, settings.warehouse_dir.resolve())
        if not (project / "profiles.yml").exists():
            yield Path(os.environ.get("DBT_PROFILES_DIR") or Path.home() / ".dbt", "profiles.yml")
        for package in sorted((project / "dbt_packages").glob("*")):
            if package.resolve() != PROJECT_FOLDER:
                yield from _below(package.resolve())
    known = dbt.our_vars(project)
    for name in relations(known):
        if name.endswith("/"):
            yield from _below(project / name)
    if isinstance(known.get("cohorts"), str):
        yield project / known["cohorts"]


def variables_of(project: Path) -> set[str]:
    """The environment variables that the files of dbt's configuration read. (dbt knows those of models.)"""
    texts = (
        path.read_text(errors="replace") for path in map(project.joinpath, CONFIGURED_IN) if path.exists()
    )
    return {name for text in texts for name in ENV_VAR.findall(text)}


def _below(path: Path, but: Path | None = None) -> Iterator[Path]:
    """The file, or the files in the folder and below it, but for one folder."""
    if not path.is_dir():
        yield path
        return
    if path.resolve() == but:
        return
    for place, folders, files in os.walk(path):
        folders[:] = sorted(
            folder for folder in folders if folder != "__pycache__" and Path(place, folder).resolve() != but
        )
        yield from (Path(place, name) for name in sorted(files))


def relations(known: dict) -> list[str]:
    """The relations and folders that the project's vars name."""
    return [str(known[name]) for name in RELATION_VARS if known.get(name)]


def _is_all_in_sight(settings: Settings) -> bool:
    """True if every relation that a var names is a folder, or a table of the warehouse itself."""
    named = [name for name in relations(dbt.our_vars(settings.project_dir)) if not name.endswith("/")]
    if not named:
        return True
    if not all(re.fullmatch(r"\w+\.\w+", name) for name in named):
        return False
    with duckdb.connect(settings.warehouse_file, read_only=True) as warehouse:
        tables = warehouse.execute(
            "select lower(schema_name || '.' || table_name) from duckdb_tables()"
        ).fetchall()
    return {name.lower() for name in named} <= {table for (table,) in tables}
