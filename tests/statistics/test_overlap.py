"""Experiments that run side by side: who is in both, and whether one changes what the other does."""

import json
import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from .experiments import ExperimentWarehouse, clock, delivery_of, event, experiment, link, metric, state
from .test_oracle import ORACLES

ORACLE = json.loads((ORACLES / "statsmodels_0_15_0_overlap.json").read_text())
PEOPLE = [dict(zip(ORACLE["columns"], row, strict=True)) for row in ORACLE["identities"]]
FEATURES = {"checkout": 1, "banner": 2, "search": 3}
# The metric that each experiment reads, and the option's weight early and late.
METRICS = {"checkout": "spent", "banner": "clicks", "search": "spent"}
WEIGHTS = {"checkout": (50.0, 50.0), "banner": (33.0, 33.0), "search": (50.0, 20.0)}


def flags_of(person: dict) -> list[dict]:
    return [
        state(
            person[feature],
            None if person[feature] == "control" else WEIGHTS[feature][person["is_late"]],
            feature=feature,
            feature_id=number,
        )
        for feature, number in FEATURES.items()
    ]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    warehouse = ExperimentWarehouse(tmp_path_factory.mktemp("overlap"))
    warehouse.land(
        [
            delivery_of(person["identity"], 48 if person["is_late"] else 1, flags_of(person))
            for person in PEOPLE
        ]
        + [
            delivery_of(person["identity"], 1, flags_of(person), environment="staging")
            for person in PEOPLE[1:5]  # in three of the four arms
        ]
        + [clock(96), clock(96, "staging")]
    )
    warehouse.give(
        "experiments",
        [experiment(name, feature_name=name, alpha=0.1) for name in FEATURES]
        + [
            experiment("windowed", alpha=0.1),
            experiment("ended", feature_name="banner", ended_at="2026-01-03"),
            experiment("nobody's", feature_name="search", assignment_reason="segment_override"),
            experiment("a ratio's", environment="staging"),
            experiment("everybody's", environment="staging", feature_name="banner"),
        ],
    )
    warehouse.give(
        "metrics",
        [
            metric("spent", aggregation="sum"),
            metric("clicks", aggregation="count"),
            metric("spent soon", aggregation="sum", event_name="spent", conversion_window_hours=60),
            metric("never", aggregation="count"),
            metric("ratio", aggregation="ratio", event_name="spent", denominator_event_name="clicks"),
            metric("quantile", aggregation="quantile", event_name="spent", quantile="0.9"),
        ],
    )
    warehouse.give(
        "experiment_metrics",
        [link(name, METRICS[name]) for name in FEATURES]
        + [
            link("windowed", "spent soon"),
            link("checkout", "clicks", "secondary"),
            link("a ratio's", "ratio"),
            link("a ratio's", "quantile"),
            link("everybody's", "never"),
        ],
    )
    warehouse.give(
        "conversion_events",
        [event(person["identity"], "spent", 50, person["spent"]) for person in PEOPLE if person["spent"]]
        + [event(person["identity"], "clicks", 51) for person in PEOPLE for _ in range(person["clicks"])],
    )
    warehouse.run("run", "--select", "+fct_experiment_overlap")
    return {
        (row["experiment_key"], row["other_experiment_key"]): row
        for row in warehouse.mart("fct_experiment_overlap")
    }


def independence_of(one: str, other: str) -> tuple[float, bool]:
    """scipy's p-value of the tables of both assignments, early and late; whether one has a cell that expects fewer than 5."""
    has_epochs = "search" in (one, other)
    tables = Counter((has_epochs and p["is_late"], p[one], p[other]) for p in PEOPLE)
    statistic, freedom, left_out = 0.0, 0, False
    for late in {late for late, _, _ in tables}:
        rows, columns = ({p[name] for p in PEOPLE} for name in (one, other))
        found = stats.chi2_contingency(
            [[tables[late, r, c] for c in columns] for r in rows], correction=False
        )
        if found.expected_freq.min() < 5:
            left_out = True
        else:
            statistic, freedom = statistic + found.statistic, freedom + found.dof
    return stats.chi2.sf(statistic, freedom), left_out


@pytest.mark.parametrize("pair", ORACLE["expected"])
def test_overlap__pairs_of_experiments__every_figure_is_that_of_statsmodels(pairs, pair):
    """Given variations whose assignments depend a little on each other, a feature with three variations and one whose
    weights change when outcomes rise; then independence and interaction are those of each epoch, put together."""
    row = pairs[tuple(pair.split(" "))]
    assert (row["environment"], row["metric_key"], row["status"]) == (
        "production",
        METRICS[row["experiment_key"]],
        "ok",
    )
    expected = ORACLE["expected"][pair]
    independence, left_out = independence_of(*pair.split(" "))
    assert left_out == ("banner" in pair and "search" in pair)
    if left_out:
        expected = expected | {"p_value_independence": independence}
    assert math.isclose(expected["p_value_independence"], independence, rel_tol=1e-9)
    wrong = {k: (row[k], v) for k, v in expected.items() if not math.isclose(row[k], v, rel_tol=1e-9)}
    assert not wrong


def test_overlap__two_experiments__a_row_for_each_if_both_run_in_one_environment(pairs):
    running = [*FEATURES, "windowed", "nobody's"]
    expected = {(one, other) for one in running for other in running if one != other}
    assert set(pairs) == expected | {("a ratio's", "everybody's"), ("everybody's", "a ratio's")}


def test_overlap__metric_with_a_window__the_interaction_of_those_who_have_it_behind_them(pairs):
    """Given half the people exposed less than the window ago; then the interaction is that of the others, by least squares."""
    early = [person for person in PEOPLE if not person["is_late"]]
    treated = np.array(
        [[person[name] != "control" for name in ("checkout", "banner")] for person in early], float
    )
    design = np.column_stack([np.ones(len(early)), treated, treated.prod(axis=1)])
    spent = np.array([person["spent"] for person in early])
    effects, (squares,), *_ = np.linalg.lstsq(design, spent, rcond=None)
    freedom = len(early) - 4
    error = math.sqrt(squares / freedom * np.linalg.inv(design.T @ design)[3, 3])
    width = stats.t.ppf(0.95, freedom) * error
    expected = {
        "identities": len(PEOPLE),
        "identities_matured": len(early),
        "interaction": effects[3],
        "interaction_low": effects[3] - width,
        "interaction_high": effects[3] + width,
        "p_value_interaction": 2 * stats.t.sf(abs(effects[3]) / error, freedom),
    }
    row = pairs["windowed", "banner"]
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-9)
    of_everybody = pairs["checkout", "banner"]["p_value_independence"]
    assert row["p_value_independence"] == pytest.approx(of_everybody, rel=1e-9)


@pytest.mark.parametrize(
    ("pair", "status", "identities", "independence"),
    [
        (("checkout", "nobody's"), "no_shared_identities", 0, "no_shared_identities"),
        (("a ratio's", "everybody's"), "no_primary_metric", 4, "too_few_identities"),
        (("everybody's", "a ratio's"), "arm_missing", 4, "too_few_identities"),
    ],
)
def test_overlap__nothing_to_compare__no_interaction_and_the_reason(
    pairs, pair, status, identities, independence
):
    row = pairs[pair]
    assert (row["independence_status"], row["p_value_independence"]) == (independence, None)
    assert (row["status"], row["identities"]) == (status, identities)
    assert {row[k] for k in row if k.startswith("interaction")} == {None}
    assert row["p_value_interaction"] is None
