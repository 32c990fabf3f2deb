"""One wrong declaration costs only itself: many wrong ones in one refresh, and the marts of everything else."""

import json
import shutil
from pathlib import Path
from unittest import mock

import duckdb
import pytest

from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.loader.operations import declarations
from tests.operations.conftest import bodies, environ_of, invoke, receive

HEADER = (
    "experiment_key,environment,feature_name,control_variation,started_at,ended_at,assignment_reason,"
    "expected_weights,alpha,decision_method,sequential_tuning,power"
)
GOOD = {
    "environment": "production",
    "feature_name": "to_come",
    "control_variation": "control",
    "started_at": "2026-01-01",
    "assignment_reason": "environment_default",
}
# What was tried: (column, cell, None where it is understood, else words of the problem and of the remedy).
CELLS = {
    "day_first": ("started_at", "09/01/2026", "ISO 8601", "2026-09-01T12:00:00+02:00"),
    "two_digits": ("started_at", "01/09/26", "ISO 8601", "2026-09-01"),
    "no_such_day": ("started_at", "2026-02-30", "ISO 8601", "2026-09-01"),
    "serial_number": ("started_at", "46266", "ISO 8601", "2026-09-01"),
    "offset": ("started_at", "2026-01-01T01:00:00+02:00", None, "2025-12-31 23:00:00"),
    "zulu": ("started_at", "2026-01-01T01:00:00Z", None, "2026-01-01 01:00:00"),
    "minutes": ("started_at", "2026-01-01 01:00", None, "2026-01-01 01:00:00"),
    "end_first": ("ended_at", "2025-12-31", "not after started_at", "leave it empty"),
    "offset_after_a_blank": ("started_at", "2026-01-01 01:00:00 +0200", None, "2025-12-31 23:00:00"),
    "utc_by_name": ("started_at", "2026-01-01 01:00:00 UTC", None, "2026-01-01 01:00:00"),
    "end_with_offset": ("ended_at", "2026-01-01T01:00:00+02:00", "not after started_at", "leave it empty"),
    "weights": ("expected_weights", "control=50;blue=50", None, "control=50;blue=50"),
    "weights_with_blanks": ("expected_weights", "control = 50; blue =50 ;", None, "control=50;blue=50"),
    "weights_with_nbsp": (
        "expected_weights",
        "control\u00a0=\u00a050;\u00a0blue=50",
        None,
        "control=50;blue=50",
    ),
    "weights_with_comma_in_name": ("expected_weights", "control=1;a,b=1", None, "control=1;a,b=1"),
    "weights_of_any_scale": ("expected_weights", "control=1;blue=0.5", None, "control=1;blue=0.5"),
    "weights_by_comma": (
        "expected_weights",
        "control=50,blue=50",
        "expected_weights",
        "`control=50;blue=50`",
    ),
    "weights_by_colon": ("expected_weights", "control:50", "expected_weights", "`control=50`"),
    "weights_per_cent": ("expected_weights", "control=50%;blue=50%", "expected_weights", "like `control=50"),
    "weights_negative": ("expected_weights", "control=-1;blue=2", "expected_weights", "name=number"),
    "weights_twice": ("expected_weights", "blue=1;blue=2", "twice", "one weight"),
    "weights_of_nothing": ("expected_weights", "control=0;blue=0", "nothing", "one weight"),
    "weights_of_the_assigned": (
        "expected_weights",
        "Control=60;variant_a=30",
        "carried the variation `Control`",
        "write `control`",
    ),
    "weights_auto": ("expected_weights", "AUTO", None, "auto"),
    "exponent": ("sequential_tuning", "1e3", None, 1000.0),
    "per_cent": ("alpha", "5%", "alpha must be a number", "without a per cent sign"),
    "decimal_comma": ("alpha", "0,05", "alpha must be a number", "a point for decimals"),
    "thousands": ("sequential_tuning", "1.000,5", "must be a number", "nothing between thousands"),
    "beyond": ("alpha", "1.5", "between 0 and 1", "0.05"),
    "infinite": ("sequential_tuning", "inf", "must be a number", "5000"),
    "not_a_number": ("power", "nan", "must be a number", "0.8"),
    "huge": ("sequential_tuning", "1e999", "must be a number", "5000"),
    "boolean": ("power", "TRUE", "must be a number", "0.8"),
    "capitals": ("decision_method", "Bayesian", None, "bayesian"),
    "unknown": (
        "decision_method",
        "bayes",
        "flagsmith, bayesian, frequentist or sequential",
        "leave it empty",
    ),
    "reason": ("assignment_reason", "default", "segment_override", "rollout"),
    "empty": ("feature_name", "\u00a0", "feature_name is empty", "as in Flagsmith"),
    "formula": ("feature_name", "=A1", "formula", "value itself"),
    "formula_error": ("feature_name", "#REF!", "formula", "value itself"),
    "quoted": ("feature_name", 'say "hi", you', None, 'say "hi", you'),
    "line_break_at_the_end": ("feature_name", "to_come\n", None, "to_come"),
}
UNDERSTOOD = {key for key, (_, _, problem, _) in CELLS.items() if problem is None}
COHORTS = """
    - key: fine
      rules: [{type: ALL, conditions: [{property: plan, operator: EQUAL, value: pro}]}]
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
    - key: lookahead
      rules: [{type: ALL, conditions: [{property: plan, operator: REGEX, value: "a)(?=b)"}]}]
    - key: nowhere
      environment: produktion
      mirrors_segment: no such segment
      rules: [{type: ALL, conditions: [{property: no such trait, operator: IS_SET}]}]
    - nothing
"""


def csv_cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def experiments() -> str:
    lines = ["\ufeff" + HEADER.replace("alpha", " Alpha ")]
    for key, (column, cell, *_) in CELLS.items():
        row = {"experiment_key": key} | GOOD | {column: cell}
        if key == "weights_of_the_assigned":
            row["feature_name"] = "checkout_button"
        lines.append(",".join(csv_cell(row.get(name, "")) for name in HEADER.split(",")))
    for key in ("twice", "twice", "Fine", "fine "):
        lines.append(",".join(({"experiment_key": key} | GOOD).get(name, "") for name in HEADER.split(",")))
    return "\r\n".join([*lines, ",,,,,,,,,,,", ""])


# Declared after the refresh.
LATER = (
    b"later,production,checkout_button,Control,2026-01-01,,environment_default,,,,,\r\n"
    b"latest,nowhere,to_come,control,2026-01-01,,environment_default,,,,,\r\n"
)
FILES = {
    "experiments": experiments(),
    "metrics": (
        "metric_key,event_name,aggregation,direction,winsorise_percentile,denominator_event_name,note\n"
        "bought,purchase,occurrence,higher_is_better,,,\n"
        "capped,purchase,occurrence,higher_is_better,0.99,,\n"
        "ratio,purchase,ratio,higher_is_better,,,\n"
        "up,purchase,count,up,,,\n"
    ),
    "experiment_metrics": (
        "role,metric_key,experiment_key\n"  # another order of columns
        "primary,bought,Fine\n"
        "primary,Bought,Fine\n"
        "primary,bought,nobody\n"
        "first,bought,offset\n"
    ),
    "identity_map": "identity,user_id\nuser_4,1\nuser_4,2\nn1,\nuser_12,3\n",
    "test_identities": b"environment,identity\n,robot\nproduction,\n, robot2\n"
    + "production,caf\u00e9\n".encode("latin-1"),
}
FILE_PROBLEMS = [
    ("metrics.csv", 3, "winsorise_percentile", "is for count, sum, mean and days"),
    ("metrics.csv", 4, "denominator_event_name", "a ratio needs denominator_event_name"),
    ("metrics.csv", 5, "direction", "higher_is_better or lower_is_better"),
    ("experiment_metrics.csv", 3, "metric_key", "no metric of this metric_key is declared"),
    ("experiment_metrics.csv", 4, "experiment_key", "no experiment of this experiment_key is declared"),
    ("experiment_metrics.csv", 5, "role", "primary, secondary or guardrail"),
    ("variants.csv", 1, None, "the file cannot be read"),  # somebody has removed it
    ("identity_map.csv", 2, "identity", "in several rows"),
    ("identity_map.csv", 4, "user_id", "user_id is empty"),
    ("test_identities.csv", 3, "identity", "identity is empty"),
    ("test_identities.csv", 5, None, "not UTF-8"),
    ("experiments.csv", len(CELLS) + 2, "experiment_key", "in several rows"),
]
COHORT_PROBLEMS = {
    "norway": ("rules[0].conditions[0].value", "no, off and false"),
    "dated": ("rules[0].conditions[0].value", "2026-01-01"),
    "misspelt": ("rules[0].conditions[0].operator", "EQUALS"),
    "7": ("key", "is 7"),
    "split": ("rules[0].conditions[0]", "environment's key"),
    "lookahead": ("rules[0].conditions[0].value", "not open"),
    "number 9": ("the cohort", "not a mapping"),
}


@pytest.fixture(scope="module")
def untidy(tmp_path_factory):
    """(environ, the seeds' folder, the result of `check` beforehand, that of the refresh)."""
    folder = tmp_path_factory.mktemp("untidy")
    seeds = folder / "seeds"
    seeds.mkdir()
    for name, text in FILES.items():
        (seeds / f"{name}.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    environ = environ_of(folder / "data")
    receive(settings_module.read(environ), *bodies())
    with mock.patch.object(declarations, "SEEDS_FOLDER", seeds):
        checked = invoke(environ, "check")
        existed = (folder / "data" / "warehouse.duckdb").exists()
        refreshed = invoke(environ, "refresh")
    return environ, seeds, checked, existed, refreshed


def rows(environ: dict, query: str) -> list[tuple]:
    with duckdb.connect(
        Path(environ["FLAGSMITH_WAREHOUSE_DIR"]) / "published.duckdb", read_only=True
    ) as published:
        return published.execute(query).fetchall()


def test_refresh__with_wrong_declarations__publishes_all_else_and_exits_with_3(untidy):
    environ, _, _, _, refreshed = untidy
    assert refreshed.exit_code == 3, refreshed.output
    assert rows(environ, "select count(*) from marts.fct_flag_exposures") > [(0,)]
    shown = json.loads(invoke(environ, "status", "--json").output)
    assert shown["refresh"]["result"] == "success" and shown["refresh"]["problems"] > 20
    assert any(problem["severity"] == "problem" for problem in shown["problems"])


def test_cell__wrong__is_named_with_file_row_column_and_remedy(untidy):
    environ, _, _, _, refreshed = untidy
    found = rows(
        environ,
        "select experiment_key, declared_in, row_number, column_name, cell, problem, remedy"
        " from marts.experiment_declaration_problems where severity = 'problem' and declared_in like '%/experiments.csv'",
    )
    by_key = {row[0]: row[1:] for row in found}
    assert set(by_key) == set(CELLS) - UNDERSTOOD | {"twice"}
    for number, (key, (column, cell, problem, remedy)) in enumerate(CELLS.items(), start=2):
        if key in UNDERSTOOD:
            continue
        *place, quoted, says, write = by_key[key]
        assert place == ["seeds/experiments.csv", number, column], key
        assert quoted == (cell.strip("\u00a0") or None)
        assert problem in says and remedy in write, key
        assert f"seeds/experiments.csv, row {number}, {column}: {says}" in refreshed.stderr


def test_cell__understood__is_what_was_meant(untidy):
    environ = untidy[0]
    for key in UNDERSTOOD:
        column, _, _, meant = CELLS[key]
        ((value, status),) = rows(
            environ, f"select {column}, status from marts.dim_experiments where experiment_key = '{key}'"
        )
        assert status != "invalid", key
        assert (value if isinstance(meant, float) else str(value)) == meant, key


def test_other_files__each_wrong_row_is_named(untidy):
    environ = untidy[0]
    found = rows(
        environ,
        "select declared_in, row_number, column_name, problem from marts.experiment_declaration_problems"
        " where severity = 'problem'",
    )
    for file, row, column, says in FILE_PROBLEMS:
        assert any(
            (place, number, name) == (f"seeds/{file}", row, column) and says in problem
            for place, number, name, problem in found
        ), (file, row)
    others = [row for row in found if not row[0].endswith("/experiments.csv")]
    assert len(others) == len(FILE_PROBLEMS) - 1, others


def test_identity_map__an_identity_twice__is_left_out_and_doubles_nothing(untidy):
    """Given an identity on two rows, one without a user_id and one in order; then each assignment stays one row."""
    found = rows(untidy[0], "select user_id, count(*) from marts.growthbook_assignments group by user_id")
    assigned = rows(
        untidy[0],
        "select identity, count(*) from marts.fct_flag_assignments where is_multivariate and enabled group by identity",
    )
    named = {"3" if identity == "user_12" else identity: times for identity, times in assigned}
    assert dict(found) == named and {"user_4", "n1", "3"} <= named.keys()


def test_warning__is_told_and_costs_nothing(untidy):
    environ = untidy[0]
    found = rows(
        environ,
        "select declared_in, column_name, experiment_key, problem from marts.experiment_declaration_problems"
        " where severity = 'warning'",
    )
    assert ("seeds/metrics.csv", "note", None, "unknown column `note`") in found
    assert {key for _, column, key, says in found if "capital letters" in says} == {"Fine", "fine"}
    assert any(place.endswith("test_identities.csv") and "blanks" in says for place, _, _, says in found)
    assert any(
        key == "weights" and "no delivery carried the variation `blue`" in says for _, _, key, says in found
    )


def test_check__says_the_same_and_writes_nothing(untidy):
    """Given a fresh clone and the same after the refresh; then check exits with 3, as refresh did, and nothing has changed.

    Given experiments that were declared since; then check holds them against what was received, as the refresh will.
    """
    environ, seeds, checked, existed, refreshed = untidy
    assert checked.exit_code == 3, checked.output
    assert not existed
    folder = Path(environ["FLAGSMITH_WAREHOUSE_DIR"])
    before = {path: path.read_bytes() for path in folder.glob("*.duckdb")}
    declared = (seeds / "experiments.csv").read_bytes()
    (seeds / "experiments.csv").write_bytes(declared + LATER)
    with mock.patch.object(declarations, "SEEDS_FOLDER", seeds):
        again = invoke(environ, "check")
    (seeds / "experiments.csv").write_bytes(declared)
    assert again.exit_code == 3, again.output
    assert before == {path: path.read_bytes() for path in folder.glob("*.duckdb")}

    def problems(output: str, severity: str = "problem: ") -> list[str]:
        return sorted(line for line in output.splitlines() if line.startswith(severity))

    assert problems(again.stderr) == problems(refreshed.stderr)
    of_what_was_received = {line for line in problems(again.stderr) if "no delivery carried" in line}
    assert len(of_what_was_received) == 1
    assert set(problems(checked.stderr)) == set(problems(again.stderr)) - of_what_was_received
    since = set(problems(again.stderr, "warning: ")) - set(problems(refreshed.stderr, "warning: "))
    assert set(problems(refreshed.stderr, "warning: ")) <= set(problems(again.stderr, "warning: "))
    assert sorted(line.split(": ", 2)[2].split(". Remedy")[0] for line in since) == [
        "no delivery carried this variation of checkout_button (`Control`)",
        "nothing was ever received from this environment (`nowhere`)",
        "the experiment has no metric, so it has no results (`later`)",
        "the experiment has no metric, so it has no results (`latest`)",
    ]


def test_seeds__put_right__leave_no_problem(untidy, tmp_path):
    """Given files in order; when refreshed again; then the exit code is 0 and nothing of the old problems is left."""
    environ, *_ = untidy
    data = tmp_path / "data"
    shutil.copytree(environ["FLAGSMITH_WAREHOUSE_DIR"], data)
    seeds = tmp_path / "seeds"
    seeds.mkdir()
    for name in declarations.NAMES:
        (header, *_) = (declarations.SEEDS_FOLDER / f"{name}.csv").read_text().splitlines()
        (seeds / f"{name}.csv").write_text(header + "\n")
    with mock.patch.object(declarations, "SEEDS_FOLDER", seeds):
        ran = invoke(environ_of(data), "refresh")
    assert ran.exit_code == 0, ran.output
    assert rows(environ_of(data), "select * from marts.experiment_declaration_problems") == []
