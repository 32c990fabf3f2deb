"""Day by day equals all at once, whatever changed in between; and what a wrong row says."""

import pytest

from .experiments import NEEDED, ExperimentWarehouse, clock, evaluation, event, experiment, link, metric

METRICS = [
    metric("bought", event_name="buy"),
    metric("revenue", event_name="buy", aggregation="sum", before_days=2),
]
AMOUNT = METRICS[1] | {"metric_key": "amount"}  # the first of its event's metrics, by name
MARTS = (
    "fct_experiment_assignments",
    "fct_experiment_results_daily",
    "fct_experiment_results",
    "fct_experiment_curves",
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
    return [*webhooks, clock(24 * number + 23.9)], events


def declared(warehouse: ExperimentWarehouse, metrics: list[dict]) -> None:
    warehouse.give("experiments", [experiment("checkout")])
    warehouse.give("metrics", metrics)
    warehouse.give("experiment_metrics", [link("checkout", one["metric_key"]) for one in metrics])


def marts(warehouse: ExperimentWarehouse) -> dict:
    return {name: sorted(map(repr, rounded(warehouse.mart(name)))) for name in MARTS}


def rounded(rows: list[dict]) -> list[dict]:
    """Sums in another order differ in the last digits."""
    return [{k: float(f"{v:.10g}") if isinstance(v, float) else v for k, v in row.items()} for row in rows]


EVERY_KIND = [
    metric("changed", event_name="buy"),
    metric("occurrence", event_name="buy", before_days=3),
    metric("count", event_name="buy", aggregation="count"),
    metric("revenue", event_name="buy", aggregation="sum", before_days=2),
    metric("mean", event_name="buy", aggregation="mean", before_days=3),
    metric("capped", event_name="buy", aggregation="sum", winsorise_percentile=0.8, before_days=3),
    metric("capped mean", event_name="buy", aggregation="mean", winsorise_percentile=0.8),
    metric(
        "ratio",
        event_name="buy",
        aggregation="ratio",
        numerator_aggregation="sum",
        denominator_event_name="visit",
        denominator_aggregation="count",
    ),
]


def late_news(number: int) -> tuple[list, list]:
    """What a day brings of days that were counted already."""
    return {
        0: ([], [event("5-1", "buy", -9, 3), event("0-1", "buy", 0.2, 6)]),
        2: (
            [evaluation("late", 20, "blue", 50.0)],  # nobody knew of it
            [
                event("late", "buy", 22, 50),
                event("0-4", "buy", 24 * 1 + 5, 41),  # within the days
                event("1-2", "visit", 24 * 1 + 6),
            ],
        ),
        3: (
            [
                evaluation(
                    "0-2", 24 * 3 + 4, "blue", 50.0
                ),  # quarantined long after its outcomes were counted
                evaluation("1-4", 24 * 3 + 4, "blue", 50.0),
                evaluation("1-1", 3, "blue", 50.0),  # first evaluated earlier than known
            ],
            [
                event("0-1", "activate", 24 * 3 + 5),
                event("1-3", "activate", 24 * 2 + 5),
                event("1-1", "buy", 5, 13),
            ],
        ),
        4: ([], [event("0-1", "buy", 24 * 4 + 3.3, -7), event("0-2", "buy", 24 * 4 + 3.5, 8)]),
        5: ([evaluation("5-1", 24 * 4 + 23, "blue", 50.0)], []),  # a day earlier, with a past
    }.get(number, ([], []))


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """Six days of an experiment with every kind of metric. The last is not built yet, and the second only with the third."""
    warehouse = ExperimentWarehouse(tmp_path_factory.mktemp("lived"))
    events = []
    for number in range(6):
        webhooks, fresh = day_of(number)
        late_webhooks, late_events = late_news(number)
        visits = [event(one["identity"], "visit", 24 * number + 2.1) for one in fresh[::2]]
        events += fresh + visits + late_events
        warehouse.land(webhooks + late_webhooks)
        warehouse.give(
            "experiments",
            [experiment("checkout", activation_event="activate")],
        )
        changed = EVERY_KIND[0] | ({"conversion_window_hours": 30} if number >= 2 else {})
        metrics = [changed, *EVERY_KIND[1 : -1 if number < 2 else None]]
        warehouse.give("metrics", metrics)
        warehouse.give("experiment_metrics", [link("checkout", one["metric_key"]) for one in metrics])
        warehouse.give("conversion_events", events)
        if number not in (1, 5):
            warehouse.run()
    return warehouse


def refreshed(warehouse: ExperimentWarehouse) -> tuple[dict, dict]:
    """The marts as they have grown, and made anew."""
    warehouse.run()
    by_day = marts(warehouse)
    warehouse.run("run", "--select", NEEDED, "--full-refresh")
    return by_day, marts(warehouse)


def test_outcomes__every_kind_of_metric__grown_equals_a_full_refresh(lived):
    """Late outcomes, quarantined and activated identities, an earlier first evaluation, a metric added, and one changed."""
    by_day, anew = refreshed(lived)
    assert by_day == anew


def test_outcomes__built_again__unchanged(lived):
    before = sorted(map(repr, lived.mart("int_experiment_outcomes", "intermediate")))
    lived.run()
    assert before == sorted(map(repr, lived.mart("int_experiment_outcomes", "intermediate")))


def test_outcomes__one_model_alone_made_anew__nothing_is_counted_twice_or_lost(lived):
    """The numbers that stand for identities and metrics are made of their names, whichever model gives them first."""
    expected = marts(lived)
    for alone in ("int_experiment_assignments", "int_experiment_outcomes", "int_experiment_metrics"):
        lived.run("run", "--select", alone)
        lived.run("run", "--select", "int_experiment_gains+")
        assert marts(lived) == expected, alone


def test_outcomes__experiment_ended_since__grown_equals_a_full_refresh(lived):
    lived.give(
        "experiments", [experiment("checkout", activation_event="activate", ended_at="2026-01-06 02:00")]
    )
    by_day, anew = refreshed(lived)
    assert by_day == anew


@pytest.fixture(scope="module")
def counted_once(tmp_path_factory):
    """One identity, two metrics of one event; then a metric is changed, and the events are gone from their relation."""
    warehouse = ExperimentWarehouse(tmp_path_factory.mktemp("counted_once"))
    warehouse.land([evaluation("one", 1, "blue", 50.0), clock(48)])
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


def test_outcomes__deleted_where_they_come_from__are_gone_however_old(counted_once):
    counted_once.give("conversion_events", [])
    counted_once.run()
    assert sums_of(counted_once, "bought") == (0, 0)
    assert sums_of(counted_once, "amount") == (0, 0)


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
WORDS = {
    ("given.experiments", 1, "assignment_reason", "reason", None, "assignment_reason must be"),
    ("given.experiments", 2, "experiment_key", "twice", None, "experiment_key occurs in several rows"),
    ("given.experiments", 3, "experiment_key", "twice", None, "experiment_key occurs in several rows"),
    ("given.experiments", 4, "expected_weights", "weights", None, "expected_weights must be `auto`"),
    ("given.metrics", 1, "denominator_event_name", None, "ratio", "a ratio needs denominator_event_name"),
    ("given.metrics", 2, "direction", None, "direction", "direction must be higher_is_better"),
    ("given.experiment_metrics", 1, "metric_key", "twice", "unknown", "no metric of this metric_key"),
}


def test_declarations__wrong_rows_of_relations__are_named_there_and_stop_no_build(lived):
    """Given wrong rows in relations that vars name; then each is told by its relation and row, and dbt succeeds."""
    for table, rows in WRONG.items():
        lived.give(table, rows)
    lived.run("run", "--select", NEEDED, "+experiment_declaration_problems")
    found = lived.query("from marts.experiment_declaration_problems where severity = 'problem'")
    places = ("declared_in", "row_number", "column_name", "experiment_key", "metric_key")
    assert {
        (*(row[name] for name in places), row["problem"][: len(words)])
        for row in found
        for *_, words in WORDS
    } >= WORDS
    assert len(found) == len(WORDS)
