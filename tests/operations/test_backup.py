"""Backup while everything runs, and restore, with exactly the commands of docs/operations.md."""

import re
import shutil
import subprocess
import threading

import duckdb
import pytest

from flagsmith_warehouse.loader import lock
from flagsmith_warehouse.loader.inbox.writer import Inbox
from flagsmith_warehouse.loader.settings import PROJECT_FOLDER
from tests.operations.conftest import invoke, receive

DOCUMENT = (PROJECT_FOLDER / "docs" / "operations.md").read_text()


def documented(name: str) -> str:
    """The shell commands under this heading."""
    return re.search(rf"## {name}\n.*?```sh\n(.*?)```", DOCUMENT, re.DOTALL)[1]


def landed(path):
    with duckdb.connect(path, read_only=True) as connection:
        return connection.execute("select delivery_id, body from landing.webhooks order by all").fetchall()


def run(script: str, settings, tmp_path) -> None:
    environ = {
        "PATH": "/usr/bin:/bin",
        "DATA": str(settings.warehouse_dir),
        "BACKUP": str(tmp_path / "backup"),
    }
    ran = subprocess.run(["/bin/sh", "-eu", "-c", script], env=environ, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.skipif(not shutil.which("flock"), reason="flock is not installed: apt-get install util-linux")
def test_backup__while_webhooks_arrive__restored_has_all_up_to_it_and_lands_what_came_after(
    settings, environ, tmp_path
):
    inbox = Inbox(settings.inbox_dir)
    inbox.put("production", True, b"before")
    assert invoke(environ, "land").exit_code == 0
    stop = threading.Event()

    def send():
        while not stop.is_set():
            inbox.put("production", True, b"meanwhile")

    sender = threading.Thread(target=send)
    sender.start()
    run(documented("Back up"), settings, tmp_path)
    stop.set()
    sender.join()
    saved = landed(tmp_path / "backup" / "warehouse.duckdb")
    assert [body for _, body in saved] == ["before"]
    settings.warehouse_file.write_bytes(b"ruined")
    run(documented("Restore"), settings, tmp_path)
    inbox.put("production", True, b"after")
    inbox.close()
    assert invoke(environ, "land").exit_code == 0
    bodies = [body for _, body in landed(settings.warehouse_file)]
    assert bodies.count("before") == 1 and bodies.count("after") == 1 and "meanwhile" in bodies


@pytest.mark.skipif(not shutil.which("flock"), reason="flock is not installed: apt-get install util-linux")
def test_backup__a_refresh_is_at_work__waits_for_it(settings, environ, tmp_path):
    receive(settings, b"{}")
    invoke(environ, "land")
    done = []
    with lock.hold(settings.warehouse_lock, 0):
        backup = threading.Thread(
            target=lambda: (run(documented("Back up"), settings, tmp_path), done.append(1))
        )
        backup.start()
        backup.join(0.5)
        assert not done and not (tmp_path / "backup" / "warehouse.duckdb").exists()
    backup.join(20)
    assert done and len(landed(tmp_path / "backup" / "warehouse.duckdb")) == 1


def test_truncated_warehouse__refresh__says_what_happened_and_nothing_leaves_the_inbox(settings, environ):
    receive(settings, b"{}")
    invoke(environ, "land")
    receive(settings, b"waiting")
    content = settings.warehouse_file.read_bytes()
    settings.warehouse_file.write_bytes(content[: len(content) // 2])
    ran = invoke(environ, "refresh")
    assert ran.exit_code == 1 and str(settings.warehouse_file) in ran.output and "still in" in ran.output
    assert invoke(environ, "status").exit_code == 0
    settings.warehouse_file.write_bytes(content)
    assert invoke(environ, "land").exit_code == 0
    assert [body for _, body in landed(settings.warehouse_file)] == ["{}", "waiting"]


@pytest.mark.skipif(not shutil.which("flock"), reason="flock is not installed: apt-get install util-linux")
def test_restore__worker_alive_and_landed_since_the_backup__land_goes_on_and_calls_nothing_damaged(
    settings, environ, tmp_path
):
    """The worker's file has lost the rows that were landed after the backup, and the warehouse no longer has them."""
    inbox = Inbox(settings.inbox_dir)
    for step in ("before", "since", "after"):
        inbox.put("production", True, step.encode())
        if step == "after":
            run(documented("Restore"), settings, tmp_path)
        ran = invoke(environ, "land")
        assert ran.exit_code == 0, ran.output
        if step == "before":
            run(documented("Back up"), settings, tmp_path)
    assert [body for _, body in landed(settings.warehouse_file)] == ["before", "after"]
    assert invoke(environ, "land").exit_code == 0
    inbox.close()
    assert invoke(environ, "land").exit_code == 0
