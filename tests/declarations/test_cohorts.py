"""A wrong cohort costs only itself, also where YAML made something else of what was meant."""

import json
from datetime import datetime
from unittest import mock

import duckdb
import pytest
import yaml

from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.loader.operations import declarations
from flagsmith_warehouse.loader.operations.dbt import DbtError
from flagsmith_warehouse.loader.operations.init import write_project
from tests.marts.conftest import landed
from tests.marts.warehouse import Warehouse
from tests.operations.conftest import environ_of

COHORTS = """
cohorts:
  - key: fine
    rules: [{type: ALL, conditions: [{property: plan, operator: EQUAL, value: pro}]}]
  - key: grown_up
    rules: [{type: ALL, conditions: [{property: age, operator: GREATER_THAN, value: 18}]}]
  - key: norway
    rules: [{type: ALL, conditions: [{property: country, operator: EQUAL, value: NO}]}]
  - key: dated
    rules: [{type: ALL, conditions: [{property: since, operator: EQUAL, value: 2026-01-01}]}]
  - key: misspelt
    rules: [{type: ALL, conditions: [{property: plan, operator: EQUALS, value: pro}]}]
  - key: 7
    rules: []
  - key: split
    mirrors_segment: 4
    rules: [{type: ALL, conditions: [{property: "", operator: PERCENTAGE_SPLIT, value: "20"}]}]
  - key: unbalanced
    rules: [{type: ALL, conditions: [{property: plan, operator: REGEX, value: "a)b"}]}]
  - key: boundary
    rules: [{type: ALL, conditions: [{property: plan, operator: REGEX, value: 'a\\b'}]}]
  - key: nowhere
    environment: produktion
    mirrors_segment: no such segment
    rules: [{type: ALL, conditions: [{property: no such trait, operator: IS_SET}]}]
  - nothing
  - key: fine
    rules: []
  - key: NO
    rules: []
  - key: no_rules
    rules: []
  - key: mirrored
    mirrors_segment: 4
    rules: [{type: ALL, conditions: [{property: plan, operator: EQUAL, value: pro}]}]
"""
PROBLEMS = {
    "norway": (3, "rules[0].conditions[0].value", "no, off and false"),
    "dated": (4, "rules[0].conditions[0].value", "2026-01-01"),
    "misspelt": (5, "rules[0].conditions[0].operator", "EQUALS"),
    "7": (6, "key", "is 7"),
    "split": (7, "rules[0].conditions[0]", "environment's key"),
    "unbalanced": (8, "rules[0].conditions[0].value", "not open"),
    "boundary": (9, "rules[0].conditions[0].value", "word boundary"),
    "number 11": (11, "the cohort", "not a mapping"),
    "fine": (12, "key", "declared twice"),
    "number 13": (13, "key", "is false"),
}
WARNINGS = {
    ("nowhere", "rules", "no such trait"),
    ("nowhere", "environment", "produktion"),
    ("nowhere", "mirrors_segment", "no such segment"),
    ("no_rules", "rules", "is empty"),
}


@pytest.fixture(scope="module")
def untidy(tmp_path_factory):
    warehouse = Warehouse(tmp_path_factory.mktemp("untidy"))
    body = {
        "flags": [],
        "identity": "ann",
        "segments": [{"id": 4, "name": "beta", "member": True}],
        "traits": [],
    }
    warehouse.land([landed(json.dumps(body), datetime(2026, 5, 1), "0")])
    warehouse.dbt("run", "--select", "+cohort_declaration_problems", "+dim_cohorts", "--vars", COHORTS)
    return warehouse


def test_cohort__wrong__is_named_and_left_out(untidy):
    found = untidy.query("from marts.cohort_declaration_problems where severity = 'problem'")
    assert {row["cohort_key"] for row in found} == set(PROBLEMS)
    for row in found:
        number, where, says = PROBLEMS[row["cohort_key"]]
        assert (row["declared_in"], row["row_number"], row["column_name"]) == (
            "dbt_project.yml",
            number,
            where,
        )
        assert says in row["problem"] and len(row["remedy"]) > 10


def test_cohort__in_order__is_computed_beside_wrong_ones(untidy):
    keys = [row["cohort_key"] for row in untidy.mart("dim_cohorts")]
    assert sorted(keys) == ["fine", "grown_up", "mirrored", "no_rules", "nowhere"]


def test_cohort__of_what_was_never_seen__is_a_warning(untidy):
    found = untidy.query("from marts.cohort_declaration_problems where severity = 'warning'")
    assert {row["cohort_key"] for row in found if row["column_name"] == "rules"} >= {"fine", "grown_up"}
    for key, where, says in WARNINGS:
        assert any(
            (row["cohort_key"], row["column_name"]) == (key, where) and says in row["problem"]
            for row in found
        ), (key, where)
    others = {(row["cohort_key"], row["column_name"]) for row in found if row["column_name"] != "rules"}
    assert others == {("nowhere", "environment"), ("nowhere", "mirrors_segment")}


def test_number__that_yaml_reads_otherwise__is_quoted_as_it_was_written():
    cohorts = "[{value: 12:30}, {values: [{value: 0123}, 1.10]}, {value: 123}, {value: 1.5}, {value: '0123'}]"
    text = f"vars: {{flagsmith_warehouse: {{cohorts: {cohorts}}}, other: 012}}"
    found = declarations.cohort_problems(text)
    assert len({row[7] for row in found}) == 2
    assert [(row[2], row[4], row[5]) for row in found] == [
        (1, "12:30", "YAML reads 12:30 as the number 750"),
        (2, "0123", "YAML reads 0123 as the number 83"),
        (2, "1.10", "YAML reads 1.10 as the number 1.1"),
    ]
    assert [row[2:5] for row in declarations.cohort_problems(cohorts, is_list=True)] == [
        (row[2], "line 1", row[4]) for row in found
    ]
    recursive = "vars: &all {more: *all, cohorts: &these [{value: *these}, 0123]}"
    assert [row[4] for row in declarations.cohort_problems(recursive)] == ["0123", "0123"]
    for text in ("vars: {cohorts: [", "vars: {cohorts: 012}", "vars: {cohorts: }"):
        assert declarations.cohort_problems(text) == []


MISREAD = """
vars:
  cohorts:
    - {key: fine, rules: [{type: ALL, conditions: [{property: plan, operator: EQUAL, value: pro}]}]}
    - {key: late, rules: [{type: ALL, conditions: [{property: since, operator: EQUAL, value: 12:30}]}]}
    - {key: early, rules: [{type: ALL, conditions: [{property: since, operator: EQUAL, value: 18:15}]}]}
"""


def test_cohort__with_a_number_that_yaml_reads_otherwise__is_left_out_until_it_is_written_anew(tmp_path):
    """Given what refresh has found; when dbt alone builds, seeds too; then it leaves out what still reads the same."""
    warehouse = Warehouse(tmp_path)
    warehouse.land([])
    with duckdb.connect(warehouse.path) as connection:
        connection.execute("create schema intermediate")
        connection.execute(declarations.FILE_PROBLEMS)
        found = declarations.cohort_problems(MISREAD)
        declarations._insert_problems(connection, "intermediate.file_problems", found)
    chosen = (
        "--select",
        "resource_type:seed",
        "+dim_cohorts",
        "int_cohort_problems",
        "--exclude-resource-type",
        "test",
    )

    def built(text: str) -> tuple[list, list]:
        cohorts = json.dumps(yaml.safe_load(text)["vars"])
        warehouse.dbt("build", *chosen, "--vars", cohorts)
        problems = warehouse.mart("int_cohort_problems", "intermediate")
        return (
            sorted(row["cohort_key"] for row in warehouse.mart("dim_cohorts")),
            sorted((row["row_number"], row["cell"]) for row in problems),
        )

    assert built(MISREAD) == (["fine"], [(2, "12:30"), (3, "18:15")])
    *lines, fine, late, early = MISREAD.splitlines()
    mended = "\n".join([*lines, early, fine, late.replace("12:30", "'12:30'")])
    assert built(mended) == (["fine", "late"], [(1, "18:15")])


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "mine"
    write_project(folder)
    return folder


def check(project) -> list[tuple]:
    environ = environ_of(project / "data") | {"FLAGSMITH_PROJECT_DIR": str(project)}
    with mock.patch.dict("os.environ", {"DBT_LOG_LEVEL_FILE": "none"}):
        found = declarations.check(settings_module.read(environ))
    return [(each.declared_in, each.row_number, each.column_name, each.problem) for each in found]


def test_file_of_cohorts__with_slips__is_searched_and_named(project):
    """Given a file of another name that `vars: cohorts:` names; then each problem is in that file, at its place."""
    (project / "cohorts.yml").rename(project / "groups.yml")
    text = (project / "dbt_project.yml").read_text()
    (project / "dbt_project.yml").write_text(text.replace("cohorts: cohorts.yml", "cohorts: groups.yml"))
    (project / "groups.yml").write_text(
        "- {key: early, rules: [{type: ALL, conditions: [{property: since, operator: EQUAL, value: 12:30}]}]}\n"
        "- {key: odd, rules: [{type: ALL, conditions: [{property: plan, operator: EQUALS, value: pro}]}]}\n"
    )
    assert [found[:3] for found in check(project)] == [
        ("groups.yml", 1, "line 1"),
        ("groups.yml", 2, "rules[0].conditions[0].operator"),
    ]


UNREADABLE = {
    "is not UTF-8": "- {key: caf\u00e9, rules: []}".encode("latin-1"),
    "is not valid YAML": b"- {key: [}",
    "is not a list": b"adults",
}


def test_file_of_cohorts__not_to_be_read__is_one_problem(tmp_path):
    warehouse = Warehouse(tmp_path)
    warehouse.land([])
    file = tmp_path / "cohorts.yml"
    for says, content in UNREADABLE.items():
        file.write_bytes(content)
        warehouse.dbt("run", "--select", "int_cohort_problems", "--vars", json.dumps({"cohorts": str(file)}))
        (found,) = warehouse.mart("int_cohort_problems", "intermediate")
        assert (found["declared_in"], found["row_number"]) == (str(file), None)
        assert found["problem"] == f"cohorts {says}" and len(found["remedy"]) > 10


@pytest.mark.parametrize("more", [b"# caf\xe9\n", b"again: &again [*again]\n", b"vars: [1]\n", b"}\n"])
def test_project_file__not_to_be_read__is_told_in_a_sentence(project, more):
    """Given a dbt_project.yml in another encoding, or with an anchor inside itself; then dbt's reason is told."""
    file = project / "dbt_project.yml"
    file.write_bytes(file.read_bytes() + more)
    with pytest.raises(DbtError, match="dbt cannot read the project in"):
        check(project)
    assert write_project(project) == []
