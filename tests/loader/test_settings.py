"""Settings are read from the environment. A value that cannot be used is refused, with what to write instead."""

import json
import os
import subprocess
import sys

import pytest

from flagsmith_warehouse.loader import settings
from flagsmith_warehouse.loader.settings import PROJECT_FOLDER, SettingsError, read, require_environments


def test_read__nothing_set__defaults():
    defaults = read({})
    assert defaults.warehouse_dir == PROJECT_FOLDER / "data"
    assert defaults.max_body_bytes == 10 * 2**20
    assert defaults.secrets == {}


def test_warehouse_dir__current_directory_elsewhere__stays_in_the_project(tmp_path):
    code = "from flagsmith_warehouse.loader.settings import read; print(read({'FLAGSMITH_WAREHOUSE_DIR': 'mine'}).warehouse_dir)"
    shown = subprocess.check_output([sys.executable, "-c", code], cwd=tmp_path, env=os.environ, text=True)
    assert shown.strip() == str(PROJECT_FOLDER / "mine")


def test_warehouse_dir__absolute__as_it_is(tmp_path):
    assert read({"FLAGSMITH_WAREHOUSE_DIR": str(tmp_path)}).warehouse_dir == tmp_path


def test_secrets__in_json_and_in_files__all_of_them_in_order(tmp_path):
    (tmp_path / "production").write_text("from file ☃\nolder, with blank \n", "utf-8")
    (tmp_path / "staging").write_text("s")
    (tmp_path / "..data").write_text("what Kubernetes puts there")
    read_settings = read(
        {
            "FLAGSMITH_WEBHOOK_SECRETS": '{"production": ["new"]}',
            "FLAGSMITH_WEBHOOK_SECRETS_DIR": str(tmp_path),
        }
    )
    assert read_settings.secrets == {
        "production": (b"new", "from file ☃".encode(), b"older, with blank "),
        "staging": (b"s",),
    }


@pytest.mark.parametrize(
    "text",
    [
        "hunter2",
        '["hunter2"]',
        '{"production": "hunter2"}',
        '{"production": []}',
        '{"production": [""]}',
        '{"a": [1]}',
        "nul",
        '{"a": ["\\ud800"]}',
        '{"production": {"hunter2": 1, "hunter2": 2}}',
        "[" * 100_000,
    ],
)
def test_secrets__not_usable__refused_without_repeating_them(text):
    with pytest.raises(SettingsError, match="FLAGSMITH_WEBHOOK_SECRETS") as refused:
        read({"FLAGSMITH_WEBHOOK_SECRETS": text})
    assert "hunter2" not in str(refused.value)


def test_secrets__file_as_editors_save_it__the_secrets_alone(tmp_path):
    """Given a byte order mark, Windows line ends and an editor's backup copy; then no secret contains any of these."""
    (tmp_path / "production").write_bytes(b"\xef\xbb\xbfnew\r\nold\r\n")
    (tmp_path / "production~").write_bytes(b"older\n")
    secrets = read({"FLAGSMITH_WEBHOOK_SECRETS_DIR": str(tmp_path)}).secrets
    assert secrets == {"production": (b"new", b"old")}


def test_secrets__an_environment_twice__refused_as_only_the_last_would_count():
    with pytest.raises(SettingsError, match="'production' twice"):
        read(
            {"FLAGSMITH_WEBHOOK_SECRETS": '{"production": ["new"], "staging": ["s"], "production": ["old"]}'}
        )


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\n", "production ", ".", ".."])
def test_environments__name_that_no_address_leads_to__refused(name):
    for setting, text in (
        ("FLAGSMITH_WEBHOOK_SECRETS", json.dumps({name: ["s"]})),
        ("FLAGSMITH_UNSIGNED_ENVIRONMENTS", json.dumps(["production", name])),
    ):
        if name or "SECRETS" in setting:
            with pytest.raises(SettingsError, match=f"{setting}.*cannot be an environment"):
                read({setting: text})


@pytest.mark.parametrize("content", ["", "\n", "one\n\ntwo"])
def test_secrets__file_with_an_empty_line__refused_by_name(tmp_path, content):
    (tmp_path / "production").write_text(content)
    with pytest.raises(SettingsError, match="production"):
        read({"FLAGSMITH_WEBHOOK_SECRETS_DIR": str(tmp_path)})


@pytest.mark.parametrize(
    "make", [lambda path: None, lambda path: path.mkdir() or (path / "a").write_bytes(b"\xff")]
)
def test_secrets__folder_that_cannot_be_read__refused_by_name(tmp_path, make):
    make(tmp_path / "secrets")
    with pytest.raises(SettingsError, match="FLAGSMITH_WEBHOOK_SECRETS_DIR"):
        read({"FLAGSMITH_WEBHOOK_SECRETS_DIR": str(tmp_path / "secrets")})


@pytest.mark.parametrize("name", ["FLAGSMITH_MAX_BODY_BYTES", "FLAGSMITH_LOCK_TIMEOUT_SECONDS"])
@pytest.mark.parametrize("text", ["0", "-1", "ten", "nan", "inf"])
def test_numbers__not_above_zero__refused_by_name(name, text):
    with pytest.raises(SettingsError, match=name):
        read({name: text})


@pytest.mark.parametrize("text", ["development", '{"a": 1}', '"development"', '[""]', "true"])
def test_unsigned_environments__not_a_list__refused_by_name(text):
    with pytest.raises(SettingsError, match="FLAGSMITH_UNSIGNED_ENVIRONMENTS"):
        read({"FLAGSMITH_UNSIGNED_ENVIRONMENTS": text})


def test_require_environments__no_secret__says_how_to_set_one():
    with pytest.raises(SettingsError, match=r"""FLAGSMITH_WEBHOOK_SECRETS='\{"production": """):
        require_environments(read({}))


def test_require_environments__unsigned_allowed__warns_by_name(caplog):
    require_environments(read({"FLAGSMITH_UNSIGNED_ENVIRONMENTS": '["development"]'}))
    assert [record.fields["environment"] for record in caplog.records] == ["development"]


def test_table__every_setting__has_a_line():
    lines = settings.table().splitlines()
    named = {name for name in dir(settings) if isinstance(getattr(settings, name), settings.Setting)}
    assert len(lines) == 2 + len(named) == 2 + len(settings.SETTINGS)
    assert all(
        f"`{setting.name}`" in line for setting, line in zip(settings.SETTINGS, lines[2:], strict=True)
    )


def test_table__as_made_here__stands_in_the_readme():
    assert settings.table() in (settings.PROJECT_FOLDER / "README.md").read_text()
