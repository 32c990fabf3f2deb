"""Files as spreadsheets write them: what is read, and what is refused with its row and what to write."""

from unittest import mock

import pytest

from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.loader.operations import declarations
from flagsmith_warehouse.loader.operations.declarations import NAMES, SEEDS_FOLDER
from flagsmith_warehouse.loader.operations.init import write_project
from tests.operations.conftest import environ_of

HEADER = "feature_name,variation,variant_key"
ROW = "checkout,blue,B1"


def sheet(tmp_path, content: bytes | str) -> declarations.Sheet:
    path = tmp_path / "variants.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return declarations.read(path)


READ = {
    "as it should be": f"{HEADER}\n{ROW}\n",
    "without a last line break": f"{HEADER}\n{ROW}",
    "a byte order mark": f"\ufeff{HEADER}\n{ROW}\n",
    "a byte order mark before quotation marks": f'\ufeff"feature_name",variation,variant_key\n{ROW}\n',
    "CRLF": f"{HEADER}\r\n{ROW}\r\n",
    "mixed line breaks": f"{HEADER}\r\n{ROW}\r\r",
    "blanks and capital letters in the header": f"Feature_Name , variation,\u00a0variant_key\n{ROW}\n",
    "rows of commas at the end": f"{HEADER}\n{ROW}\n,,\n,,\n",
    "columns of commas at the end": f"{HEADER},,\n{ROW},,\n",
    "Excel's sep=,": f"sep=,\n{HEADER}\n{ROW}\n",
    "quotation marks": '"feature_name","variation","variant_key"\n"checkout","blue","B1"\n',
}


@pytest.mark.parametrize("content", READ.values(), ids=READ)
def test_file__as_a_spreadsheet_writes_it__is_read(tmp_path, content):
    found = sheet(tmp_path, content)
    assert found.problems == []
    assert found.columns == HEADER.split(",")
    assert [row for row in found.rows if any(row)] == [ROW.split(",")]


REFUSED = {
    "empty": (b"", 1, "empty"),
    "only blanks": ("\ufeff \r\n\n", 1, "empty"),
    "semicolons": (f"{HEADER}\n{ROW}\n".replace(",", ";"), 1, "separated by semicolons"),
    "tabs": (f"{HEADER}\n{ROW}\n".replace(",", "\t"), 1, "separated by tabs"),
    "Excel's sep=;": (f"sep=;\n{HEADER}\n".replace(",", ";"), 1, "not separated by a comma"),
    "UTF-16": (f"{HEADER}\n{ROW}\n".encode("utf-16"), 1, "UTF-16"),
    "a column twice": (f"{HEADER},variation\n{ROW},red\n", 1, "occurs twice in the header"),
}


@pytest.mark.parametrize(("content", "row", "says"), REFUSED.values(), ids=REFUSED)
def test_file__not_to_be_read__is_one_problem_and_no_rows(tmp_path, content, row, says):
    found = sheet(tmp_path, content)
    ((severity, declaration, number, _, _, problem, remedy, _),) = found.problems
    assert (severity, declaration, number) == ("problem", "variants", row)
    assert says in problem and len(remedy) > 10
    assert found.rows == []


ROW_REFUSED = {
    "Latin-1": (f"{HEADER}\n{ROW}\ncafé,blue,B2\n".encode("latin-1"), "café", "not UTF-8"),
    "thousands separators": (
        f"{HEADER}\n{ROW}\ncheckout,red,1,000\n",
        "checkout,red,1,000",
        "more cells than the header",
    ),
}


@pytest.mark.parametrize(("content", "cell", "says"), ROW_REFUSED.values(), ids=ROW_REFUSED)
def test_row__not_to_be_read__costs_only_itself(tmp_path, content, cell, says):
    found = sheet(tmp_path, content)
    ((_, _, number, _, quoted, problem, *_),) = found.problems
    assert (number, quoted) == (3, cell) and says in problem
    assert [row for row in found.rows if any(row)] == [ROW.split(",")]


def test_quotation_mark__left_open__costs_what_follows(tmp_path):
    found = sheet(tmp_path, f'{HEADER}\n{ROW}\ncheckout,"red,B2\ncheckout,green,B3\n')
    ((_, _, number, _, _, problem, remedy, _),) = found.problems
    assert number == 3 and "cannot be read" in problem and "quotation mark" in remedy
    assert [row for row in found.rows if any(row)] == [ROW.split(",")]


def test_rows__keep_their_places(tmp_path):
    """Given empty lines between rows; then a row is found in a spreadsheet by its number, the header being 1."""
    found = sheet(tmp_path, f"{HEADER}\n\n,,\n{ROW}\n")
    assert found.rows.index(ROW.split(",")) + 2 == 4


def test_problem__of_a_cell_with_line_ends__is_told_in_one_line():
    """Given a cell that looks like the end of one problem and the whole of another; then it begins no line."""
    cell = "x`).\nproblem: seeds/metrics.csv, row 2: all is lost\r\u2028problem: here too\x1b[2J"
    problem = declarations.Problem(
        "problem", "seeds/a\nb.csv", 2, "alpha", cell, "is odd", "write\nsomething"
    )
    (line,) = str(problem).splitlines()
    assert r"x`).\nproblem: seeds" in line and line.isprintable()


def test_problem__of_a_very_long_cell__shows_its_ends():
    problem = declarations.Problem(
        "problem", "metrics.csv", 3, None, "first" + "," * 100_000 + "last", "the row is long", "cut it"
    )
    text = str(problem)
    assert len(text) < 500 and "`first,,," in text and ",,,last`" in text and "cut it" in text


def test_file__removed__costs_only_itself(tmp_path):
    """Given a project from which somebody has removed all files but one; then dbt parses it, and each is a problem."""
    project = tmp_path / "mine"
    write_project(project)
    for name in NAMES:
        if name != "metrics":
            (project / "experiments" / f"{name}.csv").unlink()
    environ = environ_of(tmp_path / "data") | {"FLAGSMITH_PROJECT_DIR": str(project)}
    with mock.patch.dict("os.environ", {"DBT_LOG_LEVEL_FILE": "none"}):
        found = declarations.check(settings_module.read(environ))
    assert {(each.declared_in, each.row_number) for each in found} == {
        (f"experiments/{name}.csv", 1) for name in NAMES if name != "metrics"
    }
    assert all("cannot be read" in each.problem for each in found)


@pytest.mark.parametrize("name", NAMES)
def test_file__shipped__is_in_order(name):
    assert declarations.read(SEEDS_FOLDER / f"{name}.csv").problems == []
