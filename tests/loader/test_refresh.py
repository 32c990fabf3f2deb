"""`land` and `refresh` as cron runs them."""

import os
import pty
import subprocess
import sys

import pytest

from flagsmith_warehouse.loader import lock
from flagsmith_warehouse.loader.inbox.writer import Inbox
from flagsmith_warehouse.loader.operations import additions, refresh
from flagsmith_warehouse.loader.operations.cli import main
from tests.loader.server import COMMAND, command, landed


@pytest.fixture
def received(settings):
    """One delivery in the inbox."""
    box = Inbox(settings.inbox_dir)
    box.put("production", True, b'{"flags": [], "identity": "a", "segments": [], "traits": []}')
    box.close()


def test_refresh__from_another_folder__lands_and_builds_and_ends_with_one_line(received, environ, tmp_path):
    ran = command(environ, "refresh", cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.splitlines()[-1].startswith("Refreshed in ")
    assert "1 deliveries landed" in ran.stdout.splitlines()[-1]
    assert len(landed(environ)) == 1


def test_refresh__another_is_at_work__says_so_and_leaves(settings, environ, received):
    with lock.hold(settings.refresh_lock, 0):
        ran = command(environ, "refresh")
    assert ran.returncode == 0
    assert ran.stdout == "Another refresh is running, so this one does nothing.\n"
    assert not settings.warehouse_file.exists()


def test_refresh__warehouse_locked_for_too_long__fails_and_says_what_holds_it(settings, environ):
    with lock.hold(settings.warehouse_lock, 0):
        ran = command({**environ, "FLAGSMITH_LOCK_TIMEOUT_SECONDS": "0.2"}, "refresh")
    assert ran.returncode == 1
    assert "Waiting up to 0.2 s" in ran.stderr and "Gave up" in ran.stderr and "Traceback" not in ran.stderr


@pytest.mark.parametrize("outcome", ["failure", "exception"])
def test_build__dbt_fails__says_so(settings, monkeypatch, outcome):
    from dbt.cli.main import dbtRunner, dbtRunnerResult

    failed = dbtRunnerResult(False, exception=RuntimeError("no profile") if outcome == "exception" else None)
    monkeypatch.setattr(dbtRunner, "invoke", lambda *_: failed)
    monkeypatch.setenv("FLAGSMITH_WAREHOUSE_DIR", "")
    with pytest.raises(refresh.BuildError, match="dbt"):
        refresh.build(settings)


def test_build__arguments__no_unit_tests_this_project_and_an_absolute_folder(settings, monkeypatch):
    from dbt.cli.main import dbtRunner, dbtRunnerResult

    given = []
    monkeypatch.setattr(
        dbtRunner, "invoke", lambda _, arguments: given.append(arguments) or dbtRunnerResult(True)
    )
    monkeypatch.setenv("FLAGSMITH_WAREHOUSE_DIR", "relative")
    refresh.build(settings)
    assert given[0][:3] == ["build", "--exclude-resource-type", "unit_test"]
    assert os.environ["FLAGSMITH_WAREHOUSE_DIR"] == str(settings.warehouse_dir)


def test_build_additions__a_test_with_a_warning__is_counted_once(settings, monkeypatch):
    from dbt.cli.main import dbtRunner, dbtRunnerResult

    monkeypatch.setattr(dbtRunner, "invoke", lambda *_: dbtRunnerResult(True))
    monkeypatch.setenv("FLAGSMITH_WAREHOUSE_DIR", "")
    found = [additions.Found("unique", "warn", 7)]
    monkeypatch.setattr(additions, "run_tests", lambda *_: found)
    planned = {"leave_out": [], "tests": ["unique", "not_null", "accepted_values"]}
    built, said = refresh.build_additions(settings, planned)
    assert str(built) == "0 models built; 3 tests, 1 with a warning" and said == found


def test_land__no_terminal__one_plain_line(received, environ):
    ran = command(environ, "land")
    assert ran.stdout.startswith("Landed 1 deliveries, 0.0 MB, in ") and ran.stdout.count("\n") == 1
    assert "\x1b" not in ran.stdout


def test_land__terminal__progress_bar_and_the_line(received, environ):
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "land"], env={**os.environ, **environ, "TERM": "xterm"}, stdout=theirs
    ) as land:
        assert land.wait(30) == 0
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "Landing" in shown and "Landed 1 deliveries" in shown


def test_help__package_of_another_command_missing__the_rest_works(environ):
    code = (
        "import sys; sys.modules['flagsmith_warehouse.simulator.cli'] = None; sys.argv = ['flagsmith-warehouse', '--help']; "
        "from flagsmith_warehouse.loader.operations.cli import main; main()"
    )
    shown = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert "refresh" in shown and "simulate" not in shown


def test_commands__imported__neither_dbt_nor_duckdb_in_a_web_worker():
    code = (
        "import sys\n"
        "from flagsmith_warehouse.loader.operations import cli\n"
        "from flagsmith_warehouse.loader.receive import app, server\n"
        "print([m for m in ('duckdb', 'dbt', 'rich') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
    assert set(main.commands) == {"check", "serve", "land", "refresh"}
