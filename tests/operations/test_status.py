"""`status`: its output for people, and its JSON for machines."""

import contextlib
import json
import shutil
import signal
import sqlite3
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from flagsmith_warehouse.loader import lock
from flagsmith_warehouse.loader.operations import alerts, declarations, show, status
from flagsmith_warehouse.loader.operations.doctor import Finding
from tests.loader.server import COMMAND
from tests.operations.conftest import bodies, invoke, receive


def machine(environ) -> dict:
    ran = invoke(environ, "status", "--json")
    assert ran.exit_code == 0, ran.output
    return json.loads(ran.output)


def test_status__nothing_was_ever_there__says_what_to_do(environ):
    found = machine(environ)
    assert found["refresh"] is None and found["marts"] == {}
    assert found["inbox"] == {"depth": 0, "oldest_age_seconds": None, "unreadable_files": []}
    assert set(found["environments"]) == {"production", "staging"}
    assert "flagsmith-warehouse refresh" in invoke(environ, "status").output


def test_status__after_a_refresh_with_more_waiting__tells_all_of_it(warehouse, environ):
    receive(warehouse, b"{}", b"{}", environment="staging")
    found = machine(environ)
    count = len(bodies()) + 1
    assert found["inbox"]["depth"] == 2 and 0 <= found["inbox"]["oldest_age_seconds"] < 600
    assert found["environments"]["production"]["landed"] == count
    assert found["environments"]["staging"] | {"last_received_at": None} == {
        "last_received_at": None, "last_landed_at": None, "waiting": 2, "landed": 0,
    }  # fmt: skip
    for name in ("last_received_at", "last_landed_at"):
        at = datetime.fromisoformat(found["environments"]["production"][name])
        assert 0 <= (datetime.now(UTC) - at).total_seconds() < 3600
    assert found["refresh"]["result"] == "success" and found["refresh"]["landed"] == count
    with duckdb.connect(warehouse.published_file, read_only=True) as published:
        (flags,) = published.execute("select count(*) from marts.dim_flags").fetchone()
    assert found["marts"]["dim_flags"] == flags > 0
    assert [(q["reason"], q["deliveries"]) for q in found["quarantined"]] == [("not_json", 1)]
    assert found["disk"]["warehouse"] == warehouse.warehouse_file.stat().st_size
    assert found["disk"]["free"] > 0


def test_status__as_a_person_sees_it__has_the_same_in_tables(warehouse, environ):
    shown = invoke(environ, "status").output
    for expected in ("success", "production", "not_json", "dim_flags", "On disk", "ago"):
        assert expected in shown


def test_status__a_refresh_holds_the_warehouse__does_not_wait_and_knows_what_was_published(
    warehouse, environ
):
    with lock.hold(warehouse.warehouse_lock, 0):
        found = machine(environ)
    assert found["landed_according_to"] == "the published copy"
    assert found["environments"] == machine(environ)["environments"]
    assert machine(environ)["landed_according_to"] == "the warehouse"


def test_status__the_refresh_failed__shows_why(warehouse, environ):
    with pytest.raises(ValueError, match="the disk"), status.recorded_refresh(warehouse):
        raise ValueError("the disk is full")
    assert machine(environ)["refresh"]["result"] == "failure"
    assert "the disk is full" in invoke(environ, "status").output


def test_status__the_refresh_was_killed__says_so(settings, environ):
    settings.warehouse_dir.mkdir(parents=True)
    with lock.hold(settings.warehouse_lock, 0):
        process = subprocess.Popen([*COMMAND, "refresh"], env=environ, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not settings.refresh_record.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert machine(environ)["refresh"]["result"] == "running"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert machine(environ)["refresh"]["result"] == "killed"


def test_status__an_inbox_file_is_damaged__is_named_and_the_rest_counted(settings, environ):
    receive(settings, b"{}")
    (settings.inbox_dir / "0.sqlite").write_bytes(b"no database " * 100)
    found = machine(environ)["inbox"]
    assert found["depth"] == 1 and "0.sqlite" in found["unreadable_files"][0]


def test_status__an_inbox_file_is_landed_meanwhile__is_no_damage(settings, environ, monkeypatch):
    """Given files that disappear before they are opened or measured; then the others are counted, and none is called damaged."""
    receive(settings, b"{}")
    gone = settings.inbox_dir / "gone.sqlite"
    gone.write_bytes(b"no database " * 100)
    connect, glob = status.reader.connect, Path.glob

    @contextlib.contextmanager
    def connect_too_late(path):
        if path == gone:
            gone.unlink(missing_ok=True)
            raise sqlite3.OperationalError("unable to open database file")
        with connect(path) as connection:
            yield connection

    monkeypatch.setattr(status.reader, "connect", connect_too_late)
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: [*glob(folder, pattern), gone])
    found = machine(environ)
    assert found["inbox"]["depth"] == 1 and found["inbox"]["unreadable_files"] == []
    assert found["disk"]["inbox"] > 0


def test_status__an_experiment_alarms__only_running_ones_are_shown(warehouse, environ):
    with duckdb.connect(warehouse.published_file) as published:
        published.execute("""
            create or replace table marts.dim_experiments as
            from (values ('a', 'running', null::timestamp), ('b', 'stopped', null)) as e (experiment_key, status, ended_at);
            create or replace table marts.fct_experiment_health as
            from (values ('a', 'srm', 'alarm', 'uneven'), ('a', 'data_freshness', 'ok', ''), ('b', 'srm', 'alarm', ''))
            as h (experiment_key, check_name, status, message)
        """)
    assert machine(environ)["alarms"] == [
        {"experiment": "a", "check": "srm", "status": "alarm", "message": "uneven"}
    ]
    assert "uneven" in invoke(environ, "status").output


@pytest.mark.parametrize(
    ("now", "is_over"), [("2026-03-01 11:59", False), ("2026-03-01 12:00", True), ("2026-04-01 00:00", True)]
)
def test_status__declared_end_has_passed_without_a_webhook__is_said_by_the_wall_clock(
    warehouse, environ, monkeypatch, now, is_over
):
    """Given webhooks until the 28th of February and an end at noon on the 1st of March; then status and alerts know the end."""
    with duckdb.connect(warehouse.published_file) as published:
        published.execute("""
            create or replace table marts.dim_experiments as
            from (values
                ('a', 'running', timestamp '2026-03-01 12:00', 'production', timestamp '2026-02-28 09:00'),
                ('b', 'running', null, 'production', timestamp '2026-02-28 09:00')
            ) as e (experiment_key, status, ended_at, environment, last_received_at);
            create or replace table marts.fct_experiment_health as
            from (values ('a', 'srm', 'ok', '')) as h (experiment_key, check_name, status, message)
        """)
    monkeypatch.setattr(status, "_now", lambda: datetime.fromisoformat(now).replace(tzinfo=UTC))
    said = "ended, by its declared end" if is_over else "running"
    assert [tuple(row.values()) for row in machine(environ)["experiments"]] == [
        ("a", said, "2026-03-01T12:00:00+00:00"),
        ("b", "running", None),
    ]
    assert said in invoke(environ, "status").output
    found = list(alerts.of_experiments(warehouse.published_file))
    assert [(alert.check, alert.value, alert.environment) for alert in found] == [
        ("experiment_ended", "a", "production")
    ] * is_over
    assert all("2026-02-28 09:00" in alert.message and said in alert.message for alert in found)


def test_status__texts_that_attack_a_terminal__are_shown_and_do_nothing(capsys):
    """Given an error, a reason and an environment with terminal escapes and rich markup; then they are text."""
    hostile = "\x1b]0;owned\x07\x1b[2J[red]x[/]\u202e\x00"
    at = datetime.now(UTC).isoformat()
    show.show_status(
        {
            "at": at,
            "refresh": {"result": "failure", "started_at": at, "error": f"first\nthen {hostile}"},
            "inbox": {"depth": 0, "oldest_age_seconds": None, "unreadable_files": [hostile]},
            "landings": {hostile: {"depth": 0, "oldest_age_seconds": None, "problem": hostile}},
            "environments": {
                f"{hostile}\nok": {
                    "last_received_at": None,
                    "last_landed_at": None,
                    "waiting": 0,
                    "landed": 0,
                }
            },
            "marts": {},
            "quarantined": [
                {
                    "environment": "e",
                    "reason": hostile + "y" * 100_000,
                    "deliveries": 1,
                    "last_received_at": at,
                }
            ],
            "problems": [
                {
                    "declared_in": hostile,
                    "row_number": 2,
                    "column_name": hostile,
                    "severity": "problem",
                    "problem": hostile,
                    "remedy": hostile,
                }
            ],
            "alarms": [{"experiment": hostile, "check": "c", "status": "s", "message": hostile}],
            "disk": {"inbox": 0, "warehouse": 0, "published": 0, "free": 0},
            "published_problem": hostile,
            "published_at": None,
        }
    )
    show.show_findings([Finding("fail", "refresh", hostile)])
    shown = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\u202e", "\x00"} & set(shown)
    assert "[red]x[/]" in shown and "first\n" in shown and len(shown) < 20_000


HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202e"


@pytest.mark.parametrize("command", ["land", "erase", "verify", "check", "refresh"])
def test_commands__texts_that_attack_a_terminal__are_shown_and_do_nothing(
    warehouse, environ, tmp_path, monkeypatch, command
):
    """Given a capture, a table, an environment, a declaration with terminal escapes in their names; then they are text."""
    captures = tmp_path / f"captures{HOSTILE}"
    captures.write_text(json.dumps({"path": f"/{HOSTILE}", "received_at": HOSTILE, "body": "{}"}) + "\n")
    seeds = tmp_path / "seeds"
    shutil.copytree(declarations.SEEDS_FOLDER, seeds)
    with (seeds / "experiments.csv").open("a") as file:
        file.write(f"{HOSTILE},production,f,control,{HOSTILE}\n")
    monkeypatch.setattr(declarations, "SEEDS_FOLDER", seeds)
    with duckdb.connect(warehouse.warehouse_file) as connection:
        connection.execute(f"""create table seeds."{HOSTILE}" as select 'ann' as identity""")
    arguments = {
        "land": ["land", "--from", str(captures)],
        "erase": ["erase", "--dry-run", "--identity", "ann", "--environment", HOSTILE],
        "verify": ["doctor", "verify", "--environment", HOSTILE, "--signature", HOSTILE, str(captures)],
        "check": ["check"],
        "refresh": ["refresh"],
    }
    output = invoke(environ, *arguments[command]).output
    assert r"\x1b" in output or r"\u001b" in output
    assert not {*"\x1b\x07\u202e"} & {*output}
