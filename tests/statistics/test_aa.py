"""`aa`: experiments in which nothing differs, split at random from identities and outcomes that are there."""

import functools
import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from unittest import mock

import numpy as np
import pytest
from click.testing import CliRunner
from dbt.cli.main import dbtRunner
from scipy import stats

from flagsmith_warehouse.loader import settings
from flagsmith_warehouse.loader.operations import aa
from flagsmith_warehouse.loader.operations.cli import main
from tests.marts.warehouse import parsed_project

from .experiments import ExperimentWarehouse, clock, evaluation, event, experiment, link, metric

SPLITS = 80
DRAWN = np.random.default_rng(10)
BEFORE = np.round(DRAWN.gamma(2, 10, 200), 2)
SPENT = np.round(0.8 * BEFORE + DRAWN.gamma(2, 3, 200), 2)
EXPOSED = 24 * 20 + np.arange(200) / 10  # hours
# Hours after the first evaluation: none to five visits, often two on a day.
VISITS = [np.sort(DRAWN.gamma(2, 14, i % 6)) for i in range(200)]
CAP = np.sort(SPENT)[math.ceil(0.95 * 200) - 1]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    warehouse = ExperimentWarehouse(tmp_path_factory.mktemp("aa"))
    warehouse.land(
        [evaluation(f"{i:03}", 24 * 20 + i / 10) for i in range(200)]
        + [evaluation(f"{i:03}", 24 * 22 + i / 10, "blue", 50.0) for i in range(200)]
        + [evaluation("long ago", 1), evaluation("elsewhere", 24 * 21, environment="staging")]
        + [evaluation("late", 24 * 28), clock(24 * 30)]
    )
    warehouse.give("experiments", [experiment("any", alpha=0.1, decision_method="frequentist")])
    warehouse.give(
        "metrics",
        [
            metric(
                "spent",
                aggregation="sum",
                before_days=5,
                winsorise_percentile=0.95,
                conversion_window_hours=24 * 9,
            ),
            metric("days", event_name="visit", aggregation="days", conversion_window_hours=24 * 9),
            metric("hours", event_name="visit", aggregation="hours_to_first", conversion_window_hours=24 * 9),
            metric("slowest", event_name="visit", aggregation="quantile", quantile=0.9),
        ],
    )
    warehouse.give("experiment_metrics", [link("any", "spent")])
    events = [event(f"{i:03}", "spent", 24 * 20 + i / 10 - 48, value) for i, value in enumerate(BEFORE)]
    events += [
        event(f"{i:03}", "spent", 24 * 23, value / 2) for i, value in enumerate(SPENT) for _ in range(2)
    ]
    events += [
        event(f"{i:03}", "visit", EXPOSED[i] + hours)
        for i, visits in enumerate(VISITS)
        for hours in (-1, *visits)
    ]
    # What does not count: too long before, after the last webhook, of another environment, of another event.
    events += [
        event("000", "spent", 24, 9e6),
        event("001", "spent", 24 * 31, 9e6),
        event("002", "other", 24 * 23, 9e6),
    ]
    events += [event("003", "spent", 24 * 23, 9e6, environment="staging")]
    warehouse.give("conversion_events", events)
    warehouse.run("run", "--select", *(f"+{name}" for name in aa.NEEDED))
    return warehouse


def run(warehouse: ExperimentWarehouse, *arguments: str):
    """The command on it. The project is parsed once for all tests."""
    environ = {"FLAGSMITH_WAREHOUSE_DIR": str(warehouse.directory), "DBT_LOG_LEVEL_FILE": "none"}
    parsed = functools.partial(dbtRunner, parsed_project())
    with mock.patch.dict(os.environ, environ), mock.patch("dbt.cli.main.dbtRunner", parsed):
        return CliRunner().invoke(main, ["aa", *arguments])


def p_value(treated: np.ndarray, outcome: np.ndarray, before: np.ndarray) -> tuple[float, float]:
    """Of the relative lift, adjusted (one coefficient for both arms), and the share of variance that this saves."""
    theta = np.cov(outcome, before)[0, 1] / before.var(ddof=1)
    squared = {}
    for name, t in (("adjusted", theta), ("plain", 0.0)):
        y = outcome - t * before
        a, b = y[~treated], y[treated]
        ma, mb = outcome[~treated].mean(), outcome[treated].mean()
        errors = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
        squared[name] = errors[1] / ma**2 + errors[0] * mb**2 / ma**4
        if name == "adjusted":
            lift = (b.mean() - a.mean()) / ma
            freedom = sum(errors) ** 2 / (errors[0] ** 2 / (len(a) - 1) + errors[1] ** 2 / (len(b) - 1))
    p = 2 * stats.t.sf(abs(lift) / math.sqrt(squared["adjusted"]), freedom)
    return p, 1 - squared["adjusted"] / squared["plain"]


def test_aa__identities_of_the_last_days__every_split_is_judged_as_by_scipy(warehouse):
    """Given outcomes that follow what was before; then each split's p-value is that of Welch's test of the adjusted values."""
    ran = run(warehouse, "--metric", "spent", "--experiments", str(SPLITS), "--days", "15", "--json")
    assert ran.exit_code == 0, (ran.output, ran.exception)
    answer = json.loads(ran.stdout)
    assert aa.kept(settings.read({"FLAGSMITH_WAREHOUSE_DIR": str(warehouse.directory)})) == [answer]
    drawn = np.random.default_rng(0)
    treated = np.concatenate(
        [
            drawn.random((aa.SPLITS_AT_ONCE, 200), dtype=np.float32) < 0.5
            for _ in range(SPLITS // aa.SPLITS_AT_ONCE)
        ]
    )
    capped = np.minimum(SPENT, CAP), np.minimum(BEFORE, CAP)
    judged = np.array([p_value(each, *capped) for each in treated])
    assert (answer["identities"], answer["experiments"], answer["environment"]) == (200, SPLITS, "production")
    assert answer["is_adjusted"] and answer["alpha"] == 0.1
    frequentist, sequential, bayesian = answer["rates"]
    assert frequentist["false_alarms"] == (judged[:, 0] < 0.1).sum() > 0
    assert (
        answer["decision_method"] == "frequentist"
        and frequentist["is_declared"]
        and not sequential["is_declared"]
    )
    assert sequential["false_alarms"] <= frequentist["false_alarms"] <= bayesian["false_alarms"]
    assert answer["p_values_by_tenth"] == np.histogram(judged[:, 0], 10, (0, 1))[0].tolist()
    assert math.isclose(answer["variance_saved"], judged[:, 1].mean(), rel_tol=1e-9)
    assert math.isclose(
        answer["uniformity_p_value"], stats.kstest(judged[:, 0], "uniform").pvalue, abs_tol=0.01
    )


def ratio_p_value(treated: np.ndarray, outcome: np.ndarray, denominator: np.ndarray) -> float:
    """Of the relative lift of sum by sum, by the delta method."""
    errors, ratios = [], []
    for arm in (~treated, treated):
        o, d = outcome[arm], denominator[arm]
        ratios.append(o.sum() / d.sum())
        errors.append((o - ratios[-1] * d).var(ddof=1) / len(o) / d.mean() ** 2)
    (ma, mb), n = ratios, [(~treated).sum(), treated.sum()]
    squared = errors[1] / ma**2 + errors[0] * mb**2 / ma**4
    freedom = sum(errors) ** 2 / sum(error**2 / (size - 1) for error, size in zip(errors, n, strict=True))
    return 2 * stats.t.sf(abs(mb / ma - 1) / math.sqrt(squared), freedom)


@pytest.mark.parametrize("metric_key", ["days", "hours"])
def test_aa__days_and_hours_to_the_first_event__every_split_is_judged_as_by_scipy(warehouse, metric_key):
    """Given visits of which two can be on one day, and one before; then days count once, and the first hour counts for those who came."""
    ran = run(warehouse, "--metric", metric_key, "--experiments", str(SPLITS), "--days", "15", "--json")
    assert ran.exit_code == 0, (ran.output, ran.exception)
    answer = json.loads(ran.stdout)
    if metric_key == "days":
        outcome = np.array([len(np.unique((EXPOSED[i] + VISITS[i]) // 24)) for i in range(200)], dtype=float)
        denominator = np.ones(200)
        assert outcome.sum() < sum(map(len, VISITS))
    else:
        outcome = np.array([visits[0] if len(visits) else 0 for visits in VISITS])
        denominator = np.array([min(len(visits), 1) for visits in VISITS], dtype=float)
    drawn, judged = np.random.default_rng(0), []
    for _ in range(SPLITS // aa.SPLITS_AT_ONCE):
        treated = drawn.random((aa.SPLITS_AT_ONCE, 200), dtype=np.float32) < 0.5
        judged += [ratio_p_value(each, outcome, denominator) for each in treated]
    assert answer["identities"] == 200
    judged = np.array(judged)
    assert answer["p_values_by_tenth"] == np.histogram(judged, 10, (0, 1))[0].tolist()
    assert answer["rates"][0]["false_alarms"] == (judged < answer["alpha"]).sum() > 0
    assert not answer["is_adjusted"] and answer["variance_saved"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--metric", "spend"), "No metric spend is declared"),
        (("--metric", "slowest"), "of the aggregation quantile, which aa cannot split"),
        (("--metric", "spent", "--environment", "nowhere"), "Nothing was ever received from nowhere"),
        (("--metric", "spent", "--environment", "staging"), "too few to split"),
    ],
)
def test_aa__nothing_to_split__says_what_is_missing(warehouse, arguments, words):
    ran = run(warehouse, *arguments)
    assert ran.exit_code == 1 and words in ran.output


def test_aa__profile_that_places_the_warehouse_itself__refused_before_dbt_runs(warehouse, tmp_path):
    (tmp_path / "dbt_project.yml").write_text("name: shop\n")
    (tmp_path / "profiles.yml").write_text(
        "shop: {target: dev, outputs: {dev: {type: duckdb, path: shop.duckdb}}}\n"
    )
    ran = run(warehouse, "--metric", "spent", "--days", "15", "--project-dir", str(tmp_path))
    assert ran.exit_code == 1 and "for the path of the warehouse" in ran.output


def answer(metric: str, environment: str = "production", rate: float = 0.1) -> aa.Answer:
    rates = [aa.Rate("bayesian", True, 100, rate, rate - 0.02, rate + 0.02, 0.1)]
    return aa.Answer(
        *(metric, environment, "2026-01-31T10:00:00", 200, 1000, 28, 0.05, "bayesian"),
        *(True, rates, [100] * 10, 0.5, 0.25),
    )


def test_keep__an_answer__replaces_the_last_of_its_metric_and_environment(tmp_path):
    """Given answers on two metrics and in two environments; when one is asked again; then the other two stay."""
    here = settings.read({"FLAGSMITH_WAREHOUSE_DIR": str(tmp_path)})
    assert aa.kept(here) == []
    for each in (answer("spent"), answer("spent", "staging"), answer("clicks"), answer("spent", rate=0.3)):
        aa.keep(here, each)
    assert [(one["metric"], one["environment"], one["rates"][0]["rate"]) for one in aa.kept(here)] == [
        ("spent", "staging", 0.1),
        ("clicks", "production", 0.1),
        ("spent", "production", 0.3),
    ]


def test_keep__several_at_once__all_are_kept(tmp_path):
    here = settings.read({"FLAGSMITH_WAREHOUSE_DIR": str(tmp_path)})
    metrics = [f"metric {number}" for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda each: aa.keep(here, answer(each)), metrics))
    assert sorted(one["metric"] for one in aa.kept(here)) == sorted(metrics)


def damaged(**changes: object) -> str:
    return json.dumps([asdict(answer("spent")) | changes])


@pytest.mark.parametrize(
    "content",
    [
        *("", "[", "{}", "[1]", "[" * 100_000, '[{"metric": "spent"}]', b"\xff"),
        damaged(rates=[{"method": "bayesian"}]),
        damaged(rates="bayesian"),
        damaged(until="yesterday"),
        damaged(days=10**12),
        damaged(identities=True),
        damaged(p_values_by_tenth=["1"]),
        damaged(variance_saved=math.nan),
        damaged(metric=None),
    ],
)
def test_kept__a_file_that_is_not_ours__is_refused_and_the_next_answer_replaces_it(content, tmp_path):
    here = settings.read({"FLAGSMITH_WAREHOUSE_DIR": str(tmp_path)})
    here.aa_record.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(aa.AaError, match=r"aa.json cannot be read .* Run `flagsmith-warehouse aa` again"):
        aa.kept(here)
    aa.keep(here, answer("clicks"))
    assert [one["metric"] for one in aa.kept(here)] == ["clicks"]


def test_rates_and_uniformity__of_known_numbers__those_of_scipy():
    found = stats.binomtest(7, 90).proportion_ci(method="wilson")
    assert np.allclose(aa.interval(7, 90), (7 / 90, found.low, found.high), rtol=1e-9)
    for sample in (DRAWN.random(500), DRAWN.random(500) ** 1.2, np.linspace(0.001, 0.999, 500)):
        assert math.isclose(aa.uniformity(sample), stats.kstest(sample, "uniform").pvalue, abs_tol=0.003)
