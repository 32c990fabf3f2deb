"""Who counts, and which of their outcomes, where weights change and some of those who moved come back."""

import pytest

from .experiments import ExperimentWarehouse, clock, evaluation, event, experiment, link, metric

CHANGE = 48
# At first half of 200 identities are blue. Then blue falls to 20 %: the active half of 30 blue ones come back as control.
EARLY = [(f"{arm}-{i}", arm) for arm in ("control", "blue") for i in range(100)]
LATE = [(f"late-{i}", "control" if i % 5 else "blue") for i in range(100)]


def seen(name: str, hours: float, arm: str, weight: float):
    return evaluation(name, hours, arm, weight if arm == "blue" else None)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    warehouse = ExperimentWarehouse(tmp_path_factory.mktemp("populations"))
    warehouse.land(
        [seen(name, 1, arm, 50.0) for name, arm in EARLY]
        + [seen(name, CHANGE, arm, 20.0) for name, arm in LATE]
        + [seen(f"blue-{i}", CHANGE + 2, "control", 20.0) for i in range(30)]
        + [clock(96)]
    )
    warehouse.give(
        "experiments",
        [
            experiment("changed", activation_event="open"),
            experiment("by hand", activation_event="open", expected_weights="control=50;blue=50"),
        ],
    )
    warehouse.give("metrics", [metric("bought", aggregation="count", event_name="buy")])
    warehouse.give("experiment_metrics", [link(key, "bought") for key in ("changed", "by hand")])
    # Every early one buys before the change; the 30 who come back buy again, once each.
    warehouse.give(
        "conversion_events",
        [event(name, "buy", 5) for name, _ in EARLY]
        + [event(f"blue-{i}", "buy", CHANGE + 3) for i in range(30)]
        + [event("blue-0", "open", 2), event("control-0", "open", 2)],
    )
    warehouse.run()
    return warehouse


@pytest.fixture(scope="module")
def counted(warehouse):
    """Identities and purchases, by experiment, population and variation."""
    return {
        (row["experiment_key"], row["population"], row["variation"]): (row["identities"], row["outcome_sum"])
        for row in warehouse.mart("fct_experiment_results")
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
        assert counted["by hand", "until_change", variation] == counted["by hand", "assigned", variation]
    assert counted["by hand", "assigned", "blue"] == (120, 130)


def test_population__last_day_of_each__equals_the_total(warehouse, counted):
    daily = warehouse.query("select * from marts.fct_experiment_results_daily where day = '2026-01-03'")
    assert len(daily) == 16
    for row in daily:
        key = (row["experiment_key"], row["population"], row["variation"])
        assert (row["identities"], row["outcome_sum"]) == counted[key]


def test_primary_population__not_declared__assigned(warehouse):
    rows = warehouse.mart("dim_experiments")
    assert {row["primary_population"] for row in rows} == {"assigned"}
