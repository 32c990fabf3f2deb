"""`experiment new` adds rows to what people declared, and proposes what the webhooks have shown."""

import csv
import math
from datetime import datetime
from pathlib import Path

import duckdb
import pytest
from scipy import stats

from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.loader.operations import experiment as experiments
from flagsmith_warehouse.loader.operations.init import write_project

from .conftest import environ_of, invoke

LAST = datetime(2026, 3, 31, 12)
NEEDED = ("experiment", "new", "--no-ask", "--metric", "purchase")


@pytest.fixture
def project(tmp_path):
    """A project that `init` has made, and a published copy in which 1,000 identities a day were evaluated, each once."""
    folder = tmp_path / "shop"
    write_project(folder)
    (folder / "data").mkdir(exist_ok=True)
    with duckdb.connect(folder / "data" / "published.duckdb") as copy:
        copy.execute("create schema marts")
        copy.execute(
            "create table marts.fct_flag_exposures as select 'production' as environment, 'i' || i as identity, "
            "'checkout' as feature_name, 'segment_override' as assignment_reason, true as enabled, "
            "case when i % 5 = 0 then 'blue' else 'control' end as variation, "
            "case when i % 5 = 0 then 20.0 end as percentage_allocation, "
            "?::timestamp - to_hours(i // 1000 * 24) as last_exposed_at from range(10000) as made(i)",
            [LAST],
        )
        copy.execute(
            "create table marts.fct_experiment_results as select 'clicks' as metric_key, 'control' as status, "
            "'assigned' as population, 'old' as experiment_key, 2.0 as mean, 9 as identities, 4 as identities_matured, 8.0 as outcome_sum, "
            "22.0 as outcome_sum_squares, date '2026-01-01' as last_day; "
            "create table marts.dim_metrics as select 'clicks' as metric_key, 'count' as aggregation"
        )
    return folder


def run(project: Path, *arguments: str, **options):
    environ = environ_of(project / "data") | {"FLAGSMITH_PROJECT_DIR": str(project)}
    return invoke(environ, *arguments, **options)


def rows(project: Path, name: str) -> list[dict]:
    with (project / "experiments" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_new__of_what_was_seen__proposes_control_reason_weights_and_adds_three_rows(project):
    ran = run(project, *NEEDED, "--started-at", "2026-04-01")
    assert ran.exit_code == 0, ran.output
    (row,) = rows(project, "experiments")
    assert {k: v for k, v in row.items() if v} == {
        "experiment_key": "checkout",
        "environment": "production",
        "feature_name": "checkout",
        "control_variation": "control",
        "started_at": "2026-04-01",
        "assignment_reason": "segment_override",
        "expected_weights": "auto",
    }
    (metric,) = rows(project, "metrics")
    assert (metric["metric_key"], metric["event_name"], metric["aggregation"]) == (
        "purchase",
        "purchase",
        "occurrence",
    )
    (link,) = rows(project, "experiment_metrics")
    assert (link["experiment_key"], link["metric_key"], link["role"], link["target_lift"]) == (
        "checkout",
        "purchase",
        "primary",
        "0.05",
    )
    assert "Give --baseline" in ran.output


def test_new__declared_already__refuses_and_leaves_every_file_as_it_is(project):
    assert run(project, *NEEDED).exit_code == 0
    before = {path: path.read_bytes() for path in (project / "experiments").iterdir()}
    again = run(project, *NEEDED, "--event", "another")
    assert again.exit_code == 1 and "declared already" in again.output
    assert {path: path.read_bytes() for path in (project / "experiments").iterdir()} == before


def test_new__second_experiment__adds_to_files_as_a_spreadsheet_left_them(project):
    """Given CRLF, other columns in another order and no line break at the end; then the file goes on in its own way, and the metric
    that is declared is not declared again."""
    folder = project / "experiments"
    (folder / "metrics.csv").write_bytes(
        b"\xef\xbb\xbfmetric_key,event_name,aggregation,direction\r\npurchase,buy,count,lower_is_better"
    )
    (folder / "experiments.csv").write_bytes(
        b"Started_at,experiment_key,environment,feature_name,control_variation,assignment_reason,expected_weights,note\r\n"
        b'2026-01-01,old,production,"a, b",control,environment_default,auto,"two\nlines"'
    )
    before = {name: (folder / f"{name}.csv").read_bytes() for name in ("metrics", "experiments")}
    ran = run(project, *NEEDED, "new, one")
    assert ran.exit_code == 0, ran.output
    assert (folder / "metrics.csv").read_bytes() == before["metrics"]
    after = (folder / "experiments.csv").read_bytes()
    assert after.startswith(before["experiments"] + b"\r\n") and after.endswith(b"\r\n")
    old, new = rows(project, "experiments")
    assert old["experiment_key"] == "old" and old["note"] == "two\nlines"
    assert new["experiment_key"] == "new, one" and new["Started_at"] and not new["note"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--breakdowns", "trait:plan"), "has no column breakdowns"),
        (("--ended-at", "2026-05-01"), "has no column ended_at"),
    ],
)
def test_new__column_that_the_file_lacks__nothing_is_written(project, arguments, words):
    folder = project / "experiments"
    (folder / "experiments.csv").write_text(
        "experiment_key,environment,feature_name,control_variation,started_at,assignment_reason,expected_weights\n"
    )
    before = {path: path.read_bytes() for path in folder.iterdir()}
    ran = run(project, *NEEDED, *arguments)
    assert ran.exit_code == 1 and words in ran.output
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_new__relation_of_ones_own_or_no_answer__refused(project):
    assert "Give --metric:" in run(project, "experiment", "new", "--no-ask").output
    text = (project / "dbt_project.yml").read_text()
    (project / "dbt_project.yml").write_text(text.replace("vars:\n", "vars:\n  metrics: my.metrics\n", 1))
    ran = run(project, *NEEDED)
    assert ran.exit_code == 1 and "names my.metrics" in ran.output and not rows(project, "experiments")


def test_new__at_a_terminal__asks_with_what_it_proposes(project):
    answers = ["", "", "", "red", "", "2026-04-01", "", "purchase", "buy", "sum", "lower_is_better"]
    ran = run(project, "experiment", "new", "--ask", input="\n".join(answers) + "\n")
    assert ran.exit_code == 0, ran.output
    assert "checkout in production, by segment_override: control 80 %, blue 20 %" in ran.output
    (row,) = rows(project, "experiments")
    assert (row["experiment_key"], row["control_variation"], row["expected_weights"]) == (
        "red",
        "control",
        "auto",
    )
    (metric,) = rows(project, "metrics")
    assert (metric["event_name"], metric["aggregation"], metric["direction"]) == (
        "buy",
        "sum",
        "lower_is_better",
    )


def test_new__every_aggregation__the_row_has_what_it_needs(project):
    options = {
        "days": (),
        "ratio": ("--numerator", "sum", "--denominator-event", "viewed"),
        "hours_to_first": (),
        "quantile": ("--quantile", "0.9", "--window-hours", "24"),
    }
    for kind, further in options.items():
        of_metric = ("--metric", kind, "--event", "purchase", "--aggregation", kind)
        ran = run(project, "experiment", "new", f"of_{kind}", "--no-ask", *of_metric, *further)
        assert ran.exit_code == 0, ran.output
    written = {row["metric_key"]: {k: v for k, v in row.items() if v} for row in rows(project, "metrics")}
    expected = {
        "days": {},
        "ratio": {
            "numerator_aggregation": "sum",
            "denominator_event_name": "viewed",
            "denominator_aggregation": "count",
        },
        "hours_to_first": {"conversion_window_hours": "168"},
        "quantile": {"quantile": "0.9", "conversion_window_hours": "24.0"},
    }
    for kind, of_kind in expected.items():
        common = {"metric_key": kind, "event_name": "purchase", "aggregation": kind}
        assert written.pop(kind) == common | {"direction": "higher_is_better"} | of_kind
    assert not written
    checked = run(project, "check")
    assert "problem:" not in checked.output, checked.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--aggregation", "ratio"), "Give --denominator-event:"),
        (("--quantile", "0.9"), "--quantile is for the aggregation quantile, and the metric's is occurrence"),
        (("--aggregation", "sum", "--baseline", "0.1"), "the aggregation occurrence. Nothing was written."),
    ],
)
def test_new__options_that_do_not_fit_the_aggregation__nothing_is_written(project, arguments, words):
    before = {path: path.read_bytes() for path in (project / "experiments").iterdir()}
    ran = run(project, *NEEDED, *arguments)
    assert ran.exit_code == 2 and words in " ".join(ran.output.replace("│", " ").split()), ran.output
    assert {path: path.read_bytes() for path in (project / "experiments").iterdir()} == before


def test_power__weights_and_identities_of_each_day__days_until_there_are_enough(project):
    """Given 1,000 identities a day and a fifth in blue; then the identities are those of the textbook's formula, and days are counted."""
    settings = settings_module.read(environ_of(project / "data"))
    (split,) = experiments.splits(settings)
    needed = experiments.identities_needed(0.3, 0.21, 0.2, split, "control", 0.05, 0.8)
    z = stats.norm.isf(0.025) + stats.norm.isf(0.2)
    assert math.isclose(needed, z**2 * 0.21 * (1 / 0.8 + 1 / 0.2) / 0.06**2, rel_tol=1e-9)
    assert experiments.days_needed(settings, split, needed) == math.ceil(needed / 1000) == 3
    assert experiments.days_needed(settings, split, 10_001) == 11  # beyond what was seen, at the same rate
    assert experiments.baseline_of(settings, "clicks") == (2.0, 2.0)
    with duckdb.connect(settings.published_file) as connection:
        connection.execute("update marts.dim_metrics set aggregation = 'quantile'")
    assert (
        experiments.baseline_of(settings, "clicks") is None
    )  # its sums do not tell how much identities differ
    assert math.isinf(experiments.identities_needed(0.0, 0.21, 0.2, split, "control", 0.05, 0.8))


def test_new__clone_without_published_copy__says_that_nothing_was_seen(project):
    (project / "data" / "published.duckdb").unlink()
    named = ("--environment", "production", "--feature", "search", "--baseline", "0.1")
    ran = run(project, *NEEDED, *named)
    assert ran.exit_code == 0 and "have not shown this split yet" in ran.output
    assert rows(project, "experiments")[0]["control_variation"] == "control"
