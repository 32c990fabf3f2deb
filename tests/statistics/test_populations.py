"""Who counts, and which of their outcomes, where weights change and some of those who moved come back."""

import math

import numpy as np
import pytest
from scipy import stats

from .experiments import NEEDED, ExperimentWarehouse, at, clock, evaluation, event, experiment, link, metric

CHANGE = 48
# At first half of 200 identities are blue. Then blue falls to 20 %: the active half of 30 blue ones come back as control.
EARLY = [(f"{arm}-{i}", arm) for arm in ("control", "blue") for i in range(100)]
LATE = [(f"late-{i}", "control" if i % 5 else "blue") for i in range(100)]


def seen(name: str, hours: float, arm: str, weight: float):
    return evaluation(name, hours, arm, weight if arm == "blue" else None)


def spent(name: str) -> float:
    """A sale: the late ones spend three times as much. Blue spends a little more."""
    number = int(name.split("-")[1])
    return (1 + number % 7) * (3 if name.startswith("late") else 1) + (name.startswith("blue")) * 0.25


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    warehouse = ExperimentWarehouse(tmp_path_factory.mktemp("populations"))
    warehouse.land(
        [seen(name, 1, arm, 50.0) for name, arm in EARLY]
        + [seen(name, CHANGE, arm, 20.0) for name, arm in LATE]
        + [seen(f"blue-{i}", CHANGE + 2 + i / 60, "control", 20.0) for i in range(30)]
        # Between them one that has blue, or control alone would be given.
        + [seen("late-0", CHANGE + 2 + i / 60, "blue", 20.0) for i in (9.5, 19.5)]
        + [clock(96)]
    )
    warehouse.give(
        "experiments",
        [
            experiment("changed", activation_event="open"),
            experiment("by hand", activation_event="open", expected_weights="control=50;blue=50"),
            experiment("one epoch", ended_at=at(CHANGE - 1)),
            experiment("undisturbed", primary_population="undisturbed"),
            experiment("not activated", primary_population="activated"),
            experiment("nobody's", primary_population="all"),
        ],
    )
    metrics = [
        metric("bought", aggregation="count", event_name="buy"),
        metric("spent", aggregation="sum", event_name="visit"),
    ]
    warehouse.give("metrics", metrics)
    warehouse.give(
        "experiment_metrics",
        [
            link(key, name)
            for key in ("changed", "by hand", "one epoch", "undisturbed", "not activated", "nobody's")
            for name in ("bought", "spent")
        ],
    )
    # Every early one buys before the change; the 30 who come back buy again, once each.
    warehouse.give(
        "conversion_events",
        [event(name, "buy", 5) for name, _ in EARLY]
        + [event(f"blue-{i}", "buy", CHANGE + 3) for i in range(30)]
        + [event("blue-0", "open", 2), event("control-0", "open", 2)]
        + [event(name, "visit", 60, spent(name)) for name, _ in EARLY + LATE],
    )
    warehouse.run("run", "--select", NEEDED, "+experiment_declaration_problems")
    return warehouse


@pytest.fixture(scope="module")
def counted(warehouse):
    """Identities and purchases, by experiment, population and variation."""
    return {
        (row["experiment_key"], row["population"], row["variation"]): (row["identities"], row["outcome_sum"])
        for row in warehouse.mart("fct_experiment_results")
        if row["metric_key"] == "bought"
    }


@pytest.mark.parametrize(
    ("population", "blue", "control"),
    [
        ("assigned", (120, 130), (180, 100)),
        ("until_change", (120, 100), (180, 100)),
        ("undisturbed", (90, 70), (180, 100)),
        ("activated", (1, 2), (1, 1)),
    ],
)
def test_population__weights_changed_and_movers_return__who_counts_and_what(
    counted, population, blue, control
):
    """Given movers who buy again as control; then only undisturbed asks who came back."""
    assert counted["changed", population, "blue"] == blue
    assert counted["changed", population, "control"] == control


def test_population__one_epoch__until_change_equals_assigned(counted):
    for variation in ("blue", "control"):
        assert counted["one epoch", "until_change", variation] == counted["one epoch", "assigned", variation]
    assert counted["one epoch", "assigned", "blue"] == (100, 100)


def test_epochs__weights_declared__begin_where_the_observed_weights_change(warehouse):
    """Given 50/50 declared and 50 to 20 % observed; then only the sample ratio is held against 50/50."""
    figures = (
        "select metric_key, population, variation, identities, outcome_sum, mean, relative_lift, relative_low"
        " from marts.fct_experiment_results where experiment_key = ? order by all"
    )
    assert warehouse.query(figures, "by hand") == warehouse.query(figures, "changed")
    weights = warehouse.query(
        "select epoch, variation, weight from intermediate.int_experiment_epochs"
        " where experiment_key = 'by hand' order by all"
    )
    assert [tuple(row.values()) for row in weights] == [
        (epoch, variation, 50) for epoch in (1, 2) for variation in ("blue", "control")
    ]
    ratios = warehouse.query(
        "select experiment_key, epoch, status from marts.fct_experiment_health"
        " where check_name = 'sample_ratio' and experiment_key in ('by hand', 'changed') and epoch > 0 order by all"
    )
    assert [tuple(row.values()) for row in ratios] == [
        ("by hand", 1, "ok"),
        ("by hand", 2, "alarm"),
        ("changed", 1, "ok"),
        ("changed", 2, "ok"),
    ]


def test_population__last_day_of_each__equals_the_total(warehouse, counted):
    daily = warehouse.query(
        "select * from marts.fct_experiment_results_daily where day = '2026-01-03' and metric_key = 'bought'"
        " and experiment_key in ('changed', 'by hand')"
    )
    assert len(daily) == 16
    for row in daily:
        key = (row["experiment_key"], row["population"], row["variation"])
        assert (row["identities"], row["outcome_sum"]) == counted[key]


def test_primary_population__declared_or_not__one_population_decides(warehouse):
    declared = {row["experiment_key"]: row["primary_population"] for row in warehouse.mart("dim_experiments")}
    assert declared["changed"] == "assigned" and declared["undisturbed"] == "undisturbed"
    deciding = {
        (row["experiment_key"], row["population"])
        for row in warehouse.mart("fct_experiment_results")
        if row["is_primary_population"]
    }
    assert deciding == {(key, declared[key]) for key in ("changed", "by hand", "one epoch", "undisturbed")}


@pytest.mark.parametrize(
    ("experiment_key", "cell", "words"),
    [
        ("not activated", "activated", "the population activated needs activation_event"),
        ("nobody's", "all", "primary_population must be assigned, until_change, undisturbed or activated"),
    ],
)
def test_primary_population__not_possible__refused_by_its_cell(warehouse, experiment_key, cell, words):
    found = warehouse.query(
        "select * from marts.experiment_declaration_problems where experiment_key = ?", experiment_key
    )
    assert [(row["severity"], row["column_name"], row["cell"], row["problem"]) for row in found] == [
        ("problem", "primary_population", cell, words)
    ]
    assert found[0]["row_number"] and found[0]["remedy"]


def test_verdict__one_arm_lost_more_to_the_quarantine__undisturbed_is_not_trusted(warehouse):
    verdicts = {
        (row["experiment_key"], row["population"]): (row["verdict"], row["verdict_reason"])
        for row in warehouse.mart("fct_experiment_results")
        if row["variation"] == "blue" and row["metric_key"] == "spent"
    }
    verdict, reason = verdicts["changed", "undisturbed"]
    assert verdict == "do_not_trust" and "the population undisturbed" in reason
    assert verdicts["changed", "assigned"][0] != "do_not_trust"


def test_health__weights_changed_at_a_sale__says_how_far_pooled_and_stratified_are_apart(warehouse):
    checks = {
        (row["experiment_key"], row["check_name"]): row for row in warehouse.mart("fct_experiment_health")
    }
    pooled = checks["changed", "pooled_lift"]
    assert pooled["status"] == "warn" and pooled["value"] > 1 and "blue on spent" in pooled["message"]
    assert checks["changed", "epochs_compared"]["status"] == "ok"
    assert checks["by hand", "pooled_lift"]["status"] == "warn"
    assert ("one epoch", "pooled_lift") not in checks and ("one epoch", "epochs_compared") not in checks


def test_stratified__weights_changed_at_a_sale__post_stratification_as_computed_by_hand(warehouse):
    """Given outcomes that rise when blue loses weight; then the lift is that within the epochs, and the pooled one is not."""
    row = warehouse.query(
        "select * from marts.fct_experiment_results where experiment_key = 'changed' and metric_key = 'spent'"
        " and population = 'assigned' and variation = 'blue'"
    )[0]
    strata = [
        {arm: np.array([spent(name) for name, of in epoch if of == arm]) for arm in ("control", "blue")}
        for epoch in (EARLY, LATE)
    ]
    weights = [len(epoch) / (len(EARLY) + len(LATE)) for epoch in (EARLY, LATE)]
    mean = {
        arm: sum(w * s[arm].mean() for w, s in zip(weights, strata, strict=True))
        for arm in ("control", "blue")
    }
    parts = {
        arm: [
            (w * w * s[arm].var(ddof=1) / len(s[arm]), len(s[arm]))
            for w, s in zip(weights, strata, strict=True)
        ]
        for arm in ("control", "blue")
    }
    squared_error = {arm: sum(v for v, _ in parts[arm]) for arm in parts}
    lift = mean["blue"] / mean["control"] - 1
    error = math.sqrt(
        squared_error["blue"] / mean["control"] ** 2
        + squared_error["control"] * mean["blue"] ** 2 / mean["control"] ** 4
    )
    freedom = sum(squared_error.values()) ** 2 / sum(
        v * v / (n - 1) for values in parts.values() for v, n in values
    )
    expected = {
        "mean": mean["blue"],
        "control_mean": mean["control"],
        "relative_lift": lift,
        "relative_standard_error": error,
        "relative_degrees_of_freedom": freedom,
        "relative_p_value": 2 * stats.t.sf(abs(lift) / error, freedom),
        "relative_low": lift - stats.t.ppf(0.975, freedom) * error,
    }
    wrong = {k: (row[k], v) for k, v in expected.items() if not math.isclose(row[k], v, rel_tol=1e-9)}
    assert not wrong
    pooled = {arm: np.concatenate([s[arm] for s in strata]).mean() for arm in ("control", "blue")}
    assert lift > 0 > pooled["blue"] / pooled["control"] - 1
