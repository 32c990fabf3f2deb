"""Day by day equals all at once, whatever changed in between; and what a wrong row says."""

import pytest

from .experiments import NEEDED, ExperimentWarehouse, evaluation, event, experiment, link, metric

METRICS = [
    metric("bought", event_name="buy"),
    metric("revenue", event_name="buy", aggregation="sum", before_days=2),
]
AMOUNT = METRICS[1] | {"metric_key": "amount"}  # the first of its event's metrics, by name
MARTS = (
    "fct_experiment_assignments",
    "fct_experiment_results_daily",
    "fct_experiment_results",
    "fct_experiment_health",
)


def day_of(number: int) -> tuple[list, list]:
    """Webhooks and events of one day of a small experiment."""
    people = [(f"{number}-{i}", *(("blue", 50.0) if i % 2 else ("control", None))) for i in range(20)]
    webhooks = [evaluation(name, 24 * number + 1, variation, weight) for name, variation, weight in people]
    events = [
        event(f"{earlier}-{i}", "buy", 24 * number + 2 + i / 10, 5 + i + earlier)
        for earlier in range(number + 1)
        for i in range(0, 20, 3 + earlier)
    ]
    return webhooks, events


def declared(warehouse: ExperimentWarehouse, metrics: list[dict]) -> None:
    warehouse.give("experiments", [experiment("checkout")])
    warehouse.give("metrics", metrics)
    warehouse.give("experiment_metrics", [link("checkout", one["metric_key"]) for one in metrics])


def marts(warehouse: ExperimentWarehouse) -> dict:
    return {name: sorted(map(repr, rounded(warehouse.mart(name)))) for name in MARTS}


def rounded(rows: list[dict]) -> list[dict]:
    """Sums in another order differ in the last digits."""
    return [{k: float(f"{v:.10g}") if isinstance(v, float) else v for k, v in row.items()} for row in rows]


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A warehouse built day by day, with a late webhook, a late event and a metric that was added and changed."""
    warehouse = ExperimentWarehouse(tmp_path_factory.mktemp("grown"))
    warehouse.settings = {"experiment_late_days": 0}  # or so short an experiment is counted anew every day
    events = []
    for number in range(3):
        webhooks, fresh = day_of(number)
        events += fresh
        if number == 2:
            webhooks.append(
                evaluation("0-3", 0.5, "blue", 50.0)
            )  # its first evaluation was earlier than known
            webhooks.append(evaluation("late", 20, "blue", 50.0))  # nobody knew of it
            events += [
                event("late", "buy", 22, 50),
                event("0-3", "buy", 0.7, 70),
                event("1-1", "buy", 24 + 3, 9),
            ]
        warehouse.land(webhooks)
        changed = [METRICS[0] | {"conversion_window_hours": 30}, METRICS[1]]
        declared(warehouse, METRICS[:1] if number < 1 else changed)
        warehouse.give("conversion_events", events)
        warehouse.run()
    return warehouse


def test_outcomes__built_day_by_day__equal_a_full_refresh(grown):
    by_day = marts(grown)
    grown.run("run", "--select", NEEDED, "--full-refresh")
    assert by_day == marts(grown)


def test_outcomes__built_again__unchanged(grown):
    before = sorted(map(repr, grown.mart("int_experiment_outcomes", "intermediate")))
    grown.run()
    assert before == sorted(map(repr, grown.mart("int_experiment_outcomes", "intermediate")))


@pytest.fixture(scope="module")
def counted_once(tmp_path_factory):
    """One identity, two metrics of one event; then a metric is changed, and the events are gone from their relation."""
    warehouse = ExperimentWarehouse(tmp_path_factory.mktemp("counted_once"))
    warehouse.settings = {"experiment_late_days": 0}
    warehouse.land([evaluation("one", 1, "blue", 50.0)])
    declared(warehouse, [METRICS[0], AMOUNT])
    moments = {"before it began": -10, "before the evaluation": 0.5, "on the day": 2, "a day later": 26}
    events = [event("one", "buy", hours, 1.0) for hours in moments.values()]
    warehouse.give("conversion_events", [*events, event("a stranger", "buy", 2)])
    warehouse.run()
    return warehouse


def checks_of(warehouse: ExperimentWarehouse) -> dict[str, str]:
    return {row["check_name"]: row["message"] for row in warehouse.mart("fct_experiment_health")}


def sums_of(warehouse: ExperimentWarehouse, metric_key: str) -> tuple[float, float]:
    """Of the last day, what was before and what came out."""
    rows = warehouse.mart("fct_experiment_results")
    return next(
        (row["before_sum"], row["outcome_sum"])
        for row in rows
        if (row["metric_key"], row["variation"]) == (metric_key, "blue")
    )


def test_outcomes__before_the_experiment_began__adjust_but_are_not_among_its_outcomes(counted_once):
    checks = checks_of(counted_once)
    assert checks["outcomes_without_assignment"].startswith("1 of 4 outcomes")
    assert checks["outcomes_before_exposure"].startswith("0 of 4 outcomes")
    assert sums_of(counted_once, "amount") == (2, 2)
    assert sums_of(counted_once, "bought") == (0, 1)


def test_outcomes__one_metric_changed__the_other_is_not_counted_anew(counted_once):
    counted_once.give("conversion_events", [])
    declared(counted_once, [METRICS[0] | {"conversion_window_hours": 30}, AMOUNT])
    counted_once.run()
    assert sums_of(counted_once, "bought") == (0, 0)
    assert sums_of(counted_once, "amount") == (2, 1)  # the last day is


WRONG = {
    "experiments": [
        experiment("reason", assignment_reason="default"),
        experiment("twice"),
        experiment("twice"),
        experiment("weights", expected_weights="control:50"),
    ],
    "metrics": [metric("ratio", aggregation="ratio"), metric("direction", direction="up")],
    "experiment_metrics": [link("twice", "unknown")],
}
WORDS = [
    "seeds/experiments.csv: reason - assignment_reason must be",
    "seeds/experiments.csv: twice - experiment_key stands on more than one row",
    "seeds/experiments.csv: weights - expected_weights must be `auto`",
    "seeds/metrics.csv: ratio - a ratio needs denominator_event_name",
    "seeds/metrics.csv: direction - direction must be higher_is_better",
    "seeds/experiment_metrics.csv: twice unknown - no metric of this metric_key",
]


def test_declarations__wrong_rows__each_is_named_with_what_to_do(grown):
    for table, rows in WRONG.items():
        grown.give(table, rows)
    grown.run("run", "--select", "experiment_declaration_problems")
    with pytest.raises(AssertionError) as refused:
        grown.run("test", "--select", "assert_experiment_declarations_are_right")
    assert not [words for words in WORDS if words not in str(refused.value)]
