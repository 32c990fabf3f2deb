"""Every command takes `--project-dir` and `--help`, whichever module it is in."""

import importlib.util
import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from flagsmith_warehouse.loader.operations.cli import main
from flagsmith_warehouse.loader.settings import PROJECT_DIR

CONTRACT = {
    *(
        "init",
        "serve",
        "land",
        "check",
        "refresh",
        "publish",
        "status",
        "doctor",
        "erase",
        "notebook",
        "report",
    ),
    *("docs", "demo", "simulate", "experiment", "aa"),
}


def paths(command: click.Command, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], click.Command]:
    """Every command below this one, and below those, by the words that call it."""
    found = {path: command} if path else {}
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            found |= paths(command.get_command(click.Context(command), name), (*path, name))
    return found


COMMANDS = paths(main)
# A group such as `experiment` only says which commands it has; `doctor` does something itself.
RUN_BY_THEMSELVES = [
    path for path, command in COMMANDS.items() if getattr(command, "invoke_without_command", True)
]
every_command = pytest.mark.parametrize("path", COMMANDS, ids=" ".join)


def test_commands__of_the_contract__are_there():
    assert {name for name, *_ in COMMANDS} >= CONTRACT


@every_command
def test_command__help__says_what_it_does_and_knows_the_project(path, monkeypatch):
    """Also where what notebooks need is not installed."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    ran = CliRunner().invoke(main, [*path, "--help"])
    assert ran.exit_code == 0, ran.output
    assert ran.output.startswith(f"Usage: main {' '.join(path)}") and "--project-dir FOLDER" in ran.output
    assert COMMANDS[path].help.splitlines()[0] in " ".join(ran.output.split())


@pytest.mark.parametrize("package", ["marimo", "pandas"])
@pytest.mark.parametrize("command", ["notebook", "report"])
def test_command__a_package_of_notebooks_is_missing__says_which_and_how_to_install_it(
    command, package, tmp_path
):
    code = (
        f"import sys; sys.modules[{package!r}] = None; "
        f"from flagsmith_warehouse.loader.operations.cli import main; main([{command!r}])"
    )
    environ = {**os.environ, "FLAGSMITH_WAREHOUSE_DIR": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True)
    assert ran.returncode == 1
    assert ran.stderr == (
        f"Error: Notebooks need {package}. Install them: pip install 'flagsmith-warehouse[notebook]'\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", RUN_BY_THEMSELVES, ids=" ".join)
@pytest.mark.parametrize("place", ["before the command", "behind the command"])
def test_command__project_dir__is_the_project_of_this_call_only(path, place, monkeypatch):
    """Given a command that only says where its project is; when --project-dir names one; then that is it, and no longer."""
    monkeypatch.setenv(PROJECT_DIR.name, "/of/the/shell")
    for parameter in COMMANDS[path].params:
        monkeypatch.setattr(parameter, "required", False)
    monkeypatch.setattr(COMMANDS[path], "callback", lambda *_, **__: click.echo(os.environ[PROJECT_DIR.name]))
    named = ["--project-dir", "/named"]
    ran = CliRunner().invoke(main, [*named, *path] if place == "before the command" else [*path, *named])
    assert (ran.exit_code, ran.output) == (0, "/named\n")
    assert os.environ[PROJECT_DIR.name] == "/of/the/shell"


@pytest.mark.parametrize(
    "arguments", [["init", "--project-dir", "{}"], ["--project-dir", "{}", "init", "{}"]]
)
def test_init__project_dir__is_the_folder_of_the_project(arguments, tmp_path):
    ran = CliRunner().invoke(main, [word.format(tmp_path / "mine") for word in arguments])
    assert ran.exit_code == 0, ran.output
    assert (tmp_path / "mine" / "dbt_project.yml").exists()


def test_init__two_folders_or_none__are_refused(tmp_path, monkeypatch):
    monkeypatch.delenv(PROJECT_DIR.name, raising=False)
    for arguments, why in (
        ([tmp_path / "one", "--project-dir", tmp_path / "other"], "Name one folder"),
        ([], "init FOLDER"),
    ):
        ran = CliRunner().invoke(main, ["init", *map(str, arguments)])
        assert ran.exit_code == 2 and why in ran.output
    assert list(tmp_path.iterdir()) == []
