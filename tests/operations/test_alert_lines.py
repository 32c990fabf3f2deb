"""Each problem is one JSON line, which a command of yours gets, and `status --json` lists."""

import hashlib
import json
import sys
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from flagsmith_warehouse.loader.operations import alerts
from tests.operations.conftest import environ_of, invoke

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


def test_tell__the_command_fails__says_so_and_stops_nothing(monkeypatch):
    alert = alerts.Alert("2026-01-01", None, "declarations", "problem", None, None, "m", "r")
    said = []
    for command in ("/no/such/command", "false", "'"):
        monkeypatch.setenv("FLAGSMITH_ALERT_COMMAND", command)
        alerts.tell([alert], said.append)
    assert len(said) == 3 and all("FLAGSMITH_ALERT_COMMAND failed" in text for text in said)
