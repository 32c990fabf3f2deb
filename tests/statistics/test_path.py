"""Webhooks and events in, results out: the sums of the oracle made into identities, through every model."""

import json
import math

import numpy as np
import pytest

from .experiments import ExperimentWarehouse, clock, evaluation, event, experiment, link, metric
from .test_oracle import METHODS, ORACLES, published_cases

ORACLE = json.loads((ORACLES / "gbstats_0_8_0.json").read_text())
SAMPLE_RATIOS = {
    "srm2": [("control", None, 4950), ("blue", 50.0, 4600)],
    "srm3": [("control", None, 3300), ("blue", 33.0, 3200), ("red", 33.0, 3050)],
}
CASES = [case for case in published_cases() if case["name"].endswith("bayes")]


def patterns(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Two vectors of mean 0 and variance 1 that do not correlate, so that any sums can be made of them."""
    drawn = np.random.default_rng(size).normal(size=(size, 2))
    centred = np.column_stack([np.ones(size), drawn])
    orthogonal = np.linalg.qr(centred)[0] * math.sqrt(size)
    return orthogonal[:, 1], orthogonal[:, 2]


def values_with(arm: dict, other: str, products: str) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes and values of the `other` part, one an identity, whose sums are exactly the arm's."""
    size = arm["n"]
    u, w = patterns(size)
    mean = {part: arm.get(f"{part}_sum", 0) / size for part in ("outcome", other)}
    spread = {
        part: math.sqrt(max(arm.get(f"{part}_sum_squares", 0) / size - mean[part] ** 2, 0)) for part in mean
    }
    covariance = arm.get(products, 0) / size - mean["outcome"] * mean[other]
    tilt = covariance / (spread["outcome"] * spread[other]) if spread[other] else 0
    first = mean["outcome"] + spread["outcome"] * u
    return first, mean[other] + spread[other] * (tilt * u + math.sqrt(1 - tilt**2) * w)


def events_of(case: dict, arm: dict, names: list[str]) -> list[dict]:
    key = case["name"]
    if case["kind"] == "proportion":
        return [event(name, key, 2) for name in names[: arm["outcome_sum"]]]
    part = "denominator" if case["kind"] == "ratio" else "before"
    outcomes, others = values_with(arm, part, f"outcome_{part}_products")
    made = [event(name, key, 2, value) for name, value in zip(names, outcomes, strict=True)]
    if case["kind"] == "ratio":
        made += [event(name, "visit", 3, value) for name, value in zip(names, others, strict=True)]
    if case["kind"] == "cuped":
        made += [event(name, key, -3, value) for name, value in zip(names, others, strict=True)]
    return made


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    warehouse = ExperimentWarehouse(tmp_path_factory.mktemp("path"))
    sides = {"control": ("control", None), "variation": ("blue", 50.0)}
    names = {side: [f"{side}-{i}" for i in range(CASES[0][side]["n"])] for side in sides}
    warehouse.land(
        [
            evaluation(name, 1, variation, weight)
            for side, (variation, weight) in sides.items()
            for name in names[side]
        ]
        + [
            evaluation(f"{variation}-{i}", 1, variation, weight, environment=key)
            for key, arms in SAMPLE_RATIOS.items()
            for variation, weight, size in arms
            for i in range(size)
        ]
        + [clock(10)]
    )
    warehouse.give(
        "experiments",
        [experiment("checkout", ended_at="2026-02-01")]
        + [experiment(key, environment=key) for key in SAMPLE_RATIOS],
    )
    warehouse.give(
        "metrics",
        [
            metric(
                case["name"],
                aggregation={"proportion": "occurrence", "ratio": "ratio"}.get(case["kind"], "sum"),
                numerator_aggregation="sum" if case["kind"] == "ratio" else None,
                denominator_event_name="visit" if case["kind"] == "ratio" else None,
                denominator_aggregation="sum" if case["kind"] == "ratio" else None,
                before_days=7 if case["kind"] == "cuped" else None,
            )
            for case in CASES
        ],
    )
    warehouse.give("experiment_metrics", [link("checkout", case["name"]) for case in CASES])
    warehouse.give(
        "conversion_events",
        [one for case in CASES for side in sides for one in events_of(case, case[side], names[side])],
    )
    warehouse.run()
    rows = warehouse.query("select * from marts.fct_experiment_results where variation = 'blue'")
    return warehouse, {row["metric_key"]: row for row in rows}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("difference", ["absolute", "relative"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_path__identities_with_the_sums_of_the_oracle__its_results(results, case, difference, method):
    row = results[1][case["name"]]
    prefix = ("cuped_" if case["kind"] == "cuped" else "") + difference + "_"
    for name, expected in case["expected"][difference][method].items():
        assert math.isclose(row[prefix + METHODS[method][name]], expected, rel_tol=1e-9, abs_tol=1e-9), name


@pytest.mark.parametrize("name", SAMPLE_RATIOS)
def test_path__sample_ratio__that_of_gbstats(results, name):
    """Expected is what the webhooks carry (percentage_allocation); control has the rest."""
    ratio = results[0].query(
        "select * from marts.fct_experiment_health where check_name = 'sample_ratio' and epoch = 0"
        " and experiment_key = ?",
        name,
    )[0]
    assert math.isclose(ratio["value"], ORACLE["pypi"][name], rel_tol=1e-9)
    assert ratio["status"] == ("alarm" if ratio["value"] < 0.001 else "ok")


def test_path__last_day__equals_the_total(results):
    warehouse, totals = results
    daily = warehouse.query(
        "select * from marts.fct_experiment_results_daily where variation = 'blue' and day = date '2026-01-01'"
    )
    for row in daily:
        assert math.isclose(row["relative_lift"], totals[row["metric_key"]]["relative_lift"], rel_tol=1e-12)
