"""Our files name people, so only owner and group may read them, under any umask and from any release."""

import os
import subprocess
from pathlib import Path

import pytest

from flagsmith_warehouse.loader import filesystem, lock
from flagsmith_warehouse.loader.inbox.writer import Inbox
from flagsmith_warehouse.loader.settings import PROJECT_FOLDER
from tests.loader.server import COMMAND, Server, command
from tests.operations.conftest import bodies, invoke, receive

BIN = Path(COMMAND[0]).parent


def too_open(*folders: Path) -> dict[str, str]:
    """The files in the folders that others may read or the group may write, at any depth."""
    paths = [path for folder in folders for path in (folder, *folder.rglob("*"))]
    modes = {path: path.stat().st_mode & 0o777 for path in paths}
    return {
        str(path): oct(mode)
        for path, mode in modes.items()
        if mode & ~(0o750 if path.is_dir() else 0o640)  # as docs and deploy/ promise, independent of the code
    }


def open_to_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)


@pytest.fixture
def umask():
    """The umask of most accounts, which lets everybody read files. It is set again after each command."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_modes__umask_of_most_accounts__what_a_server_and_all_commands_make_is_closed(
    umask, environ, tmp_path
):
    data = Path(environ["FLAGSMITH_WAREHOUSE_DIR"])
    dbt = {"DBT_TARGET_PATH": str(tmp_path / "target"), "DBT_LOG_PATH": str(tmp_path / "logs")}
    with Server(environ) as server:
        assert server.post(bodies()[0]).status == 204
        assert (data / "inbox").exists() and too_open(data) == {}
        assert command(environ, "land").returncode == 0
        assert command({**environ, **dbt}, "refresh").returncode == 0
        assert command({**environ, **dbt}, "erase", "--identity", "nobody").returncode == 0
        assert {path.name for path in data.iterdir()} >= {
            "warehouse.duckdb",
            "published.duckdb",
            "erasures.ndjson",
        }
        assert too_open(data, tmp_path / "target", tmp_path / "logs") == {}


def test_modes__umask_of_most_accounts__what_dbt_by_itself_makes_of_the_data_is_closed(
    umask, environ, tmp_path
):
    data = Path(environ["FLAGSMITH_WAREHOUSE_DIR"])
    options = ["--target-path", str(tmp_path / "target"), "--log-path", str(tmp_path / "logs")]
    subprocess.run(
        [BIN / "dbt", "--quiet", "run", "--select", "+stg_flagsmith__payloads", *options],
        env={**os.environ, **environ},
        cwd=PROJECT_FOLDER,
        check=True,
    )
    assert (data / "warehouse.duckdb").exists() and too_open(data) == {}
    for folder in (tmp_path / "target", tmp_path / "logs"):
        assert not filesystem.is_open(folder)


def test_modes__library_used_under_another_umask__inbox_and_locks_are_closed(umask, settings):
    inbox = Inbox(settings.inbox_dir)
    inbox.put("production", True, b"{}")
    with lock.hold(settings.warehouse_lock, 0):
        assert len(list(settings.inbox_dir.glob("*.sqlite*"))) == 3
        assert too_open(settings.warehouse_dir) == {}
    inbox.close()


@pytest.mark.parametrize("arguments", [["land"], ["publish"], ["refresh"]], ids=" ".join)
def test_modes__left_open_by_an_earlier_release__mended_at_the_next_write(warehouse, environ, arguments):
    receive(warehouse, b"{}")
    open_to_all(warehouse.warehouse_dir)
    assert too_open(warehouse.warehouse_dir)
    assert invoke(environ, *arguments).exit_code == 0
    assert too_open(warehouse.warehouse_dir) == {}


def test_modes__data_behind_links__the_files_themselves_are_mended(settings, environ, tmp_path):
    receive(settings, b"{}")
    assert invoke(environ, "land").exit_code == 0
    elsewhere = tmp_path / "elsewhere"
    settings.warehouse_dir.rename(elsewhere)
    settings.warehouse_dir.symlink_to(elsewhere)
    file = (elsewhere / "warehouse.duckdb").rename(tmp_path / "file.duckdb")
    (elsewhere / "warehouse.duckdb").symlink_to(file)
    for path in (elsewhere, elsewhere / "inbox", file):
        path.chmod(0o777)
    assert invoke(environ, "land").exit_code == 0
    assert too_open(elsewhere) == {} and not filesystem.is_open(file)


def test_modes__folder_that_holds_more_than_ours__stays_open_and_so_do_the_files_of_others(settings, environ):
    settings.warehouse_dir.mkdir(parents=True)
    theirs = settings.warehouse_dir / "theirs.txt"
    theirs.touch()
    for path, mode in ((theirs, 0o644), (settings.warehouse_dir, 0o755)):
        path.chmod(mode)
    receive(settings, b"{}")
    assert invoke(environ, "land").exit_code == 0
    assert settings.warehouse_dir.stat().st_mode & 0o777 == 0o755 and theirs.stat().st_mode & 0o777 == 0o644
    assert not filesystem.is_open(settings.warehouse_file) and not filesystem.is_open(settings.inbox_dir)


def test_modes__umask_that_is_stricter__stays(umask):
    os.umask(0o077)
    filesystem.keep_private()
    assert os.umask(0o077) == 0o077
