"""Each problem is one JSON line. The alert command gets it, and `status --json` lists it."""

import hashlib
import json
import shutil
import sys
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from flagsmith_warehouse.loader import LoaderError
from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.loader.operations import alerts, unchanged
from tests.operations.conftest import as_left, environ_of, invoke, receive

FIELDS = {"at", "environment", "check", "severity", "value", "usual", "message", "remedy"}
BODY = '{"flags": [], "identity": "a", "segments": [], "traits": []}'


@pytest.fixture(scope="module")
def silent(tmp_path_factory):
    """(environ, the file that the hook appends to, the refresh): an environment that spoke hourly until 12 hours ago."""
    folder = tmp_path_factory.mktemp("silent")
    heard = folder / "heard.ndjson"
    hook = f"{sys.executable} -c \"import sys; open('{heard}', 'a').write(sys.stdin.read())\""
    environ = {**environ_of(folder / "data"), "FLAGSMITH_ALERT_COMMAND": hook}
    invoke(environ, "land")
    last = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=12)
    rows = [
        (
            f"{n:032d}",
            "production",
            last - timedelta(minutes=20 * n),
            hashlib.sha256(BODY.encode()).hexdigest(),
        )
        for n in range(300)
    ]
    with duckdb.connect(folder / "data" / "warehouse.duckdb") as warehouse:
        warehouse.executemany(
            f"insert into landing.webhooks values (?, ?, $3, $3, ?, true, 'utf-8', '{BODY}', null)".replace(
                "$3", "?", 1
            ).replace("$3", "?"),
            [(a, b, c, c, d) for a, b, c, d in rows],
        )
    return environ, heard, invoke(environ, "refresh")


def test_refresh__an_environment_is_silent__says_so_and_tells_the_command_in_one_line(silent):
    environ, heard, ran = silent
    assert ran.exit_code == 0, ran.output
    (line,) = heard.read_text().splitlines()[:1]
    alert = json.loads(line)
    assert set(alert) == FIELDS
    assert (alert["environment"], alert["check"], alert["value"]) == ("production", alerts.CHECKS[0], 0)
    assert (
        alert["usual"] >= 20 and "environment production is silent: 0 deliveries since " in alert["message"]
    )
    assert f"warning: production: {alert['message']}" in ran.stderr
    told = json.loads(invoke(environ, "status", "--json").stdout)["alerts"]
    assert [set(each) for each in told] == [FIELDS] * len(told) and alert in told


def test_refresh__nothing_new__builds_nothing_and_the_clock_still_rings(silent, monkeypatch):
    """Given a refresh; when nothing has changed since; then dbt is not started, and the silence is reported again."""
    environ, heard, _ = silent
    before = len(heard.read_text().splitlines())
    with monkeypatch.context() as patched:
        patched.setattr("flagsmith_warehouse.loader.operations.dbt.run", None)
        ran = invoke(environ, "refresh")
    assert ran.exit_code == 0, ran.output
    assert "nothing was built" in ran.stdout and ran.stdout.splitlines()[-1].startswith("Refreshed in ")
    assert len(heard.read_text().splitlines()) == 2 * before


@pytest.mark.parametrize(
    "what", ["nothing", "a delivery", "a model", "the warehouse", "an option", "a day", "a failure"]
)
def test_refresh__something_new__is_built(silent, tmp_path, monkeypatch, what):
    """Given an unchanged warehouse; when a single thing changes; then dbt is started."""
    first, *_ = silent
    data = tmp_path / "data"
    shutil.copytree(first["FLAGSMITH_WAREHOUSE_DIR"], data)
    environ = environ_of(data)
    settings = settings_module.read(environ)
    as_left(environ)
    record = json.loads(settings.refresh_record.read_text())
    arguments = ["refresh"]
    if what == "a delivery":
        receive(settings, BODY.encode())
    elif what == "a model":
        monkeypatch.setattr(unchanged, "READ", (*unchanged.READ, "pyproject.toml"))
    elif what == "the warehouse":
        with duckdb.connect(settings.warehouse_file) as warehouse:
            warehouse.execute("create table seeds.more as select 1 as one")
    elif what == "an option":
        arguments.append("--full-refresh")
    elif what == "a day":
        record["built_at"] -= unchanged.FULL_EVERY_SECONDS
    elif what == "a failure":
        record["result"] = "failure"
    settings.refresh_record.write_text(json.dumps(record))
    monkeypatch.setattr("flagsmith_warehouse.loader.operations.dbt.run", started)
    ran = invoke(environ, *arguments)
    assert ("dbt was started" in ran.output) == (what != "nothing"), ran.output


def started(*_, **__):
    raise LoaderError("dbt was started")


def test_tell__the_command_fails__says_so_and_stops_nothing(monkeypatch):
    alert = alerts.Alert("2026-01-01", None, "declarations", "problem", None, None, "m", "r")
    said = []
    for command in ("/no/such/command", "false", "'"):
        monkeypatch.setenv("FLAGSMITH_ALERT_COMMAND", command)
        alerts.tell([alert], said.append)
    assert len(said) == 3 and all("FLAGSMITH_ALERT_COMMAND failed" in text for text in said)
