"""Settings that cannot be meant are refused by name, before anything is built."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.loader.operations import checks, dbt
from flagsmith_warehouse.loader.settings import PROJECT_FOLDER
from tests.marts.warehouse import Warehouse

NODE = SimpleNamespace(raw_code="select {{ var('of_their_own') }}", package_name="mine")
MANIFEST = SimpleNamespace(nodes={"n": NODE}, macros={}, metadata=SimpleNamespace(project_name="mine"))


def refuse(folder, text: str, **variables) -> None:
    (folder / "dbt_project.yml").write_text(f"name: mine\nvars:\n{text}")
    settings = replace(settings_module.read({"FLAGSMITH_WAREHOUSE_DIR": str(folder)}), project_dir=folder)
    checks.refuse_unusable_vars(settings, MANIFEST, variables)


@pytest.mark.parametrize("text", ["  flagsmith_warehouse: {retension_days: 3}", "  retension_days: 3"])
def test_var__that_no_model_knows__is_named_with_what_was_meant(tmp_path, text):
    with pytest.raises(
        checks.VarsError, match=r"retension_days: no model knows this var\. Do you mean retention_days\?"
    ):
        refuse(tmp_path, text)


def test_var__on_the_command_line__is_refused_as_well(tmp_path):
    with pytest.raises(checks.VarsError, match="cohort: no model knows"):
        refuse(tmp_path, "  {}", cohort=[])


def test_var__known_or_of_their_own__is_accepted(tmp_path):
    refuse(
        tmp_path,
        "  flagsmith_warehouse: {retention_days: 3}\n  mine: {anything: 1}\n  of_their_own: 2",
        cohorts=[],
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"retention_days": "90 days"}, "vars: retention_days is 90 days"),
        ({"retention_days": True}, "vars: retention_days is True"),
        ({"landing_schema": "raw", "landing_table": "flagsmith"}, "There is no table"),
    ],
)
def test_value__that_cannot_be_meant__stops_the_run_before_anything_is_built(tmp_path, given, said):
    warehouse = Warehouse(tmp_path)
    warehouse.land([])
    with pytest.raises(AssertionError, match=said):
        warehouse.dbt("run", "--select", "int_declaration_cells", "--vars", json.dumps(given))
    built = warehouse.query("select distinct schema_name from duckdb_tables()")
    assert "raw" not in {row["schema_name"] for row in built}
    assert warehouse.query("select * from duckdb_tables() where table_name = 'int_declaration_cells'") == []


def test_vars__that_models_read__are_declared_with_a_default():
    """`vars:` of our package lists all that there is, so that none is refused as unknown."""
    read = {
        name
        for folder in ("models", "macros")
        for source in (PROJECT_FOLDER / folder).rglob("*.sql")
        for name in re.findall(r"""\bvar\(\s*['"](\w+)['"]""", source.read_text())
    }
    told_by_commands = {"declarations_folder", "missing_files"}
    assert read - told_by_commands == read & set(dbt.vars_of(PROJECT_FOLDER)[dbt.PACKAGE]) != set()
