"""Lineage ends at a person: models/_readers__dbt_exposures.yml says what the notebooks and recipes really read."""

import ast
import inspect
import re

import pytest
import yaml

from flagsmith_warehouse.notebooks.report import NOTEBOOKS
from flagsmith_warehouse.notebooks.warehouse import (
    REPORTED_EXPERIMENTS,
    people_behind,
    reported_flags,
    reported_people,
    stale_flags,
)

from ..marts.warehouse import PROJECT
from .conftest import RECIPES

# Functions of the marts, and the mart that each reads.
FUNCTIONS = {
    "flags_as_of": "fct_flag_assignments",
    "traits_as_of": "fct_identity_traits",
    "outcomes_of": "fct_experiment_outcomes",
}
DECLARED = {
    exposure["name"]: {
        re.fullmatch(r"ref\('flagsmith_warehouse', '(\w+)'\)", one)[1] for one in exposure["depends_on"]
    }
    for exposure in yaml.safe_load((PROJECT / "models/_readers__dbt_exposures.yml").read_text())["exposures"]
}
NAMES = {"flag_exposure": "flag_exposure_explorer", "segments_and_cohorts": "segment_and_cohort_explorer"}


def read_by(text: str) -> set[str]:
    """The marts that the SQL of a page or recipe reads, and the questions that several pages ask."""
    # reported_flags asks stale_flags, and reported_people people_behind.
    for one in (reported_flags, stale_flags, reported_people, people_behind):
        if f"{one.__name__}(" in text:
            text += inspect.getsource(one)
    if "{REPORTED_EXPERIMENTS}" in text:
        text += REPORTED_EXPERIMENTS
    return {FUNCTIONS.get(name, name) for name in named_in(text)}


def named_in(text: str) -> set[str]:
    """The marts and functions that the SQL names."""
    return {*re.findall(r"(?:from|join) marts\.(\w+)", text)}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_exposures__a_notebook__depends_on_what_it_reads_and_asks_for(name):
    text = (PROJECT / "notebooks" / f"{name}.py").read_text()
    assert DECLARED[NAMES.get(name, name)] == read_by(text)
    calls = [
        node for node in ast.walk(ast.parse(text)) if getattr(getattr(node, "func", 0), "id", "") == "source"
    ]
    # A column of a mart is written after it.
    required = {
        one.value.partition(".")[0]
        for call in calls
        for one in ast.walk(call)
        if isinstance(one, ast.Constant)
    }
    # A function is asked for beside the mart that it reads.
    assert required == read_by(text) | (named_in(text) & FUNCTIONS.keys())


def test_exposures__the_recipes__depend_on_what_they_read():
    sql = "\n".join(re.findall(r"```sql\n(.*?)```", RECIPES.read_text(encoding="utf-8"), re.S))
    assert DECLARED["recipes"] == read_by(sql)


def test_overview__every_family_of_marts__has_a_link_that_draws_its_lineage():
    overview = (PROJECT / "models/overview.md").read_text(encoding="utf-8")
    families = {path.name for path in (PROJECT / "models/marts").iterdir() if path.is_dir()}
    assert set(re.findall(r"g_v=1&g_i=1%2Bmarts\.(\w+)\)", overview)) == families


def test_overview__every_mart__is_in_the_table_that_says_where_to_start():
    overview = (PROJECT / "models/overview.md").read_text(encoding="utf-8")
    start_from = overview.partition("What is one row of your answer?")[2]
    marts = {path.stem for path in (PROJECT / "models/marts").rglob("*.sql")}
    assert {name for name in marts if f"`{name}`" not in start_from} == set()
