"""The answers in docs/recipes.md are what the marts say.

To write them anew: REWRITE_RECIPES=1 .venv/bin/python -m pytest tests/notebooks/test_recipes.py
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from flagsmith_warehouse.loader import settings
from flagsmith_warehouse.loader.operations import publish

from .conftest import RECIPES

RECIPE = re.compile(
    r"^### (?P<number>\d+)\. (?P<question>.+?)\n(?P<text>.*?)```sql\n(?P<sql>.*?)```\n"
    r"(?:\n```text\n(?P<answer>.*?)```\n)?",
    re.S | re.M,
)
FOUND = [match.groupdict() for match in RECIPE.finditer(RECIPES.read_text(encoding="utf-8"))]


SHELL = re.search(r"```sh\n(.*?)```", RECIPES.read_text(encoding="utf-8"), re.S)[1]
JUPYTER = re.search(r"\*\*Jupyter\*\*: `(.*?)`", RECIPES.read_text(encoding="utf-8"))[1]


@pytest.fixture(scope="module")
def published(month) -> Path:
    """The published copy of the example month: what the page tells people to open."""
    publish.publish(settings.read({"FLAGSMITH_WAREHOUSE_DIR": str(month)}))
    yield month / "published.duckdb"
    (month / "published.duckdb").unlink()


@pytest.fixture(scope="module")
def connection(published):
    with duckdb.connect(str(published), read_only=True) as connection:
        if os.environ.get("REWRITE_RECIPES"):
            rewrite(connection)
        yield connection


def printed(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """The answer as columns of text, as a person would lay it out; numbers to the right, null as `-`."""
    cursor = connection.execute(sql)
    names, kinds = [one[0] for one in cursor.description], [str(one[1]) for one in cursor.description]
    rows = [["-" if value is None else cell(value) for value in row] for row in cursor.fetchall()]
    numeric = [kind.split("(")[0] in ("BIGINT", "INTEGER", "DOUBLE", "DECIMAL") for kind in kinds]
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]

    def line(cells: list[str]) -> str:
        parts = zip(cells, widths, numeric, strict=True)
        return "  ".join(c.rjust(w) if right else c.ljust(w) for c, w, right in parts).rstrip()

    return "\n".join([line(names), line(["-" * width for width in widths]), *map(line, rows)]) + "\n"


def cell(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(str, value)) + "]"
    return f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def rewrite(connection: duckdb.DuckDBPyConnection) -> None:
    def with_answer(match: re.Match) -> str:
        question = match[0].partition("\n\n```text\n")[0].rstrip("\n")
        return f"{question}\n\n```text\n{printed(connection, match['sql'])}```\n"

    RECIPES.write_text(RECIPE.sub(with_answer, RECIPES.read_text(encoding="utf-8")), encoding="utf-8")
    FOUND[:] = [match.groupdict() for match in RECIPE.finditer(RECIPES.read_text(encoding="utf-8"))]


def in_shell(command: str, published: Path) -> str:
    """What a command of the page prints, asked of the published copy of the example month."""
    assert "data/demo/published.duckdb" in command and ".venv/bin/python " in command
    command = command.replace("data/demo/published.duckdb", str(published)).replace(
        ".venv/bin/python", sys.executable
    )
    done = subprocess.run(["sh", "-c", command], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_recipes__the_page__has_twenty_questions_in_order():
    assert [int(recipe["number"]) for recipe in FOUND] == list(range(1, 21))
    assert RECIPES.read_text(encoding="utf-8").count("```sql") == 20


@pytest.mark.parametrize("number", range(1, 21))
def test_recipes__asked_of_the_example_month__answer_what_the_page_says(connection, number):
    recipe = FOUND[number - 1]
    answer = printed(connection, recipe["sql"])
    assert answer.count("\n") > 2, "a question without an answer teaches nothing"
    assert answer == recipe["answer"], recipe["question"]


def test_recipes__the_command_as_it_stands__prints_the_flags(published):
    assert "checkout_button" in in_shell(SHELL, published)


@pytest.mark.parametrize("number", range(1, 21))
def test_recipes__each_from_a_shell__is_answered(published, number):
    """With quotes of both kinds, as `"left"` and `'example'`, unchanged."""
    recipe = FOUND[number - 1]
    shown = in_shell(SHELL.replace("from marts.dim_flags\n", recipe["sql"]), published)
    names, _, first, *_ = recipe["answer"].split("\n")
    assert first.split()[0].lower() in shown.lower()
    assert all(name[:4] in shown for name in names.split())


def test_recipes__the_line_for_jupyter__gives_a_frame(published):
    line = JUPYTER.replace("data/published.duckdb", str(published))
    frame = eval(line, {"duckdb": duckdb})  # noqa: S307 -- a line of our own page
    assert "checkout_button" in set(frame.name)
