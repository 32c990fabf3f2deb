"""A warehouse made once with `refresh`. Every test that changes it gets its own copy."""

import functools
import json
import os
import shutil
from pathlib import Path
from unittest import mock

import duckdb
import pytest
from click.testing import CliRunner, Result

from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.loader.inbox.writer import Inbox
from flagsmith_warehouse.loader.landing import schema as landing_schema
from flagsmith_warehouse.loader.operations import unchanged
from flagsmith_warehouse.loader.operations.cli import main
from tests.marts.warehouse import parsed_project

SECRETS = {"production": ["new secret", "old-Sëcret-☃"], "staging": ["s"]}
CAPTURED = Path(__file__).parents[1] / "fixtures" / "captured" / "flagsmith_2_265_0.ndjson"


def environ_of(folder: Path) -> dict[str, str]:
    """The environment variables that a person would set, with the data in `folder`."""
    return {
        "FLAGSMITH_WEBHOOK_SECRETS": json.dumps(SECRETS),
        "FLAGSMITH_WEBHOOK_SECRETS_DIR": "",
        "FLAGSMITH_UNSIGNED_ENVIRONMENTS": "",
        "FLAGSMITH_WAREHOUSE_DIR": str(folder),
        "FLAGSMITH_LOCK_TIMEOUT_SECONDS": "30",
    }


def receive(settings: settings_module.Settings, *bodies: bytes, environment: str = "production") -> None:
    """Put webhooks into the inbox, like a web worker that then dies."""
    inbox = Inbox(settings.inbox_dir)
    for body in bodies:
        inbox.put(environment, True, body)
    inbox.close()


def bodies() -> list[bytes]:
    """The bodies of the captured requests."""
    return [json.loads(line)["body"].encode() for line in CAPTURED.read_text().splitlines()]


def invoke(environ: dict[str, str], *arguments: str, **options) -> Result:
    """Run a command in this process. The project is parsed once for all tests, which saves half of a build's time."""
    from dbt.cli.main import dbtRunner

    parsed = functools.partial(dbtRunner, parsed_project()) if "refresh" in arguments else dbtRunner
    quiet = {"DBT_LOG_LEVEL_FILE": "none"}  # dbt leaves its log open, and warnings are errors here
    with mock.patch.dict(os.environ, {**environ, **quiet}), mock.patch("dbt.cli.main.dbtRunner", parsed):
        return CliRunner().invoke(main, arguments, **options)


def as_left(environ: dict) -> None:
    """Let the record be about these files: a copy has other times and numbers than the original."""
    settings = settings_module.read(environ)
    record = json.loads(settings.refresh_record.read_text())
    with mock.patch.dict(os.environ, {**environ, "DBT_LOG_LEVEL_FILE": "none"}):
        record["built_from"] = unchanged.record_of(unchanged.look(settings), settings, [])
    settings.refresh_record.write_text(json.dumps(record))


@pytest.fixture
def environ(tmp_path):
    return environ_of(tmp_path / "data")


@pytest.fixture
def settings(environ):
    return settings_module.read(environ)


@pytest.fixture(scope="session")
def refreshed(tmp_path_factory):
    """The folder after one refresh of all captured requests. Not to be changed: see `warehouse`."""
    folder = tmp_path_factory.mktemp("refreshed") / "data"
    environ = environ_of(folder)
    receive(settings_module.read(environ), *bodies(), b"this is no JSON")
    ran = invoke(environ, "refresh")
    assert ran.exit_code == 0, ran.output
    return folder


@pytest.fixture
def warehouse(refreshed, settings):
    """The settings of a test's own copy of the refreshed folder."""
    shutil.copytree(refreshed, settings.warehouse_dir)
    return settings


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.fixture
def uncompressed(monkeypatch):
    """Make files uncompressed, so that every text can be found by its bytes."""
    connect = duckdb.connect

    def connect_uncompressed(*arguments, **options):
        config = {**options.pop("config", {}), "force_compression": "uncompressed"}
        return connect(*arguments, config=config, **({} if options.get("read_only") else options))

    monkeypatch.setattr(duckdb, "connect", connect_uncompressed)
    monkeypatch.setattr(
        landing_schema, "TABLES", landing_schema.TABLES.replace(" using compression zstd", "")
    )
