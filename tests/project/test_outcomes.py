"""Outcomes from a folder of files: whatever spreadsheets and exports write, one bad file or line costs itself alone."""

import json

import duckdb
import pytest

from tests.marts.warehouse import Warehouse
from tests.statistics.experiments import OUTCOMES

HEAD = "identity,event_name,occurred_at,value\n"
FILES = {
    "good.csv": HEAD + "ann,bought,2026-01-02T12:00:00+02:00,2.5\n",
    "crlf and bom.csv": "\ufeff" + HEAD.replace("\n", "\r\n") + '"b, c",bought,2026-01-02 10:00:00,\r\n',
    "years/2025/other order.csv": "occurred_at,environment,EVENT_NAME,identity\n2026-01-03,production,seen,ann\n",
    "many.csv": HEAD + "eve,bought,2026-01-02,1,000\nbob,bought,2026-01-02,7\n",
    "latin.csv": (HEAD + "J\u00f6rg,bought,2026-01-02,1\ndan,bought,2026-01-02,3\n").encode("latin-1"),
    "semicolons.csv": (HEAD + "eve,bought,2026-01-02,1\n").replace(",", ";"),
    "utf16.csv": (HEAD + "eve,bought,2026-01-02,1\n").encode("utf-16"),
    "open.csv": HEAD + '"eve,bought,2026-01-02,1\n',
    "empty.csv": "",
    "header.csv": HEAD,
    "half.parquet": b"PAR1 half of it",
    "ignored.txt": "not read",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outcomes")
    for name, content in FILES.items():
        path = folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    duckdb.sql(
        "copy (select 'pam' as identity, 'bought' as event_name, timestamp '2026-01-04' as occurred_at, 4::decimal(9,2) as value) "
        f"to '{folder}/files/export.parquet'"
    )
    warehouse = Warehouse(folder)
    warehouse.dbt(
        *OUTCOMES,
        "--vars",
        json.dumps({"conversion_events": f"{folder}/files/"}),
    )
    return warehouse


def test_folder__files_of_every_kind__are_read(built):
    rows = built.query(
        "select identity, event_name, strftime(occurred_at, '%d %H') as at, value, environment from intermediate.int_outcomes order by all"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("ann", "bought", "02 10", 2.5, None),
        ("ann", "seen", "03 00", None, "production"),
        ("b, c", "bought", "02 10", None, None),
        ("bob", "bought", "02 00", 7.0, None),
        ("dan", "bought", "02 00", 3.0, None),
        ("pam", "bought", "04 00", 4.0, None),
    ]


def test_folder__what_cannot_be_read__is_named_and_costs_itself_alone(built):
    rows = built.mart("int_outcome_problems", "intermediate")
    assert {row["severity"] for row in rows} == {"problem"}
    problems = {row["cell"]: row["problem"] for row in rows}
    assert set(problems) == {
        "many.csv",
        "latin.csv",
        "semicolons.csv",
        "utf16.csv",
        "open.csv",
        "empty.csv",
        "half.parquet",
    }
    assert problems["many.csv"].startswith("line 2 cannot be read: left out")
    assert "it has no column identity, but identity;event_name" in problems["semicolons.csv"]


def test_folder__without_a_file_or_without_a_var__is_no_outcome(tmp_path):
    (tmp_path / "files").mkdir()
    warehouse = Warehouse(tmp_path)
    warehouse.dbt(*OUTCOMES)
    assert warehouse.mart("int_outcomes", "intermediate") == []
    warehouse.dbt(*OUTCOMES, "--vars", json.dumps({"conversion_events": f"{tmp_path}/files/"}))
    assert (
        warehouse.mart("int_outcomes", "intermediate")
        == warehouse.mart("int_outcome_problems", "intermediate")
        == []
    )
    types = warehouse.query(
        "select data_type from duckdb_columns() where table_name = 'int_outcomes' and column_name in ('value', 'occurred_at')"
    )
    assert sorted(row["data_type"] for row in types) == ["DOUBLE", "TIMESTAMP"]
