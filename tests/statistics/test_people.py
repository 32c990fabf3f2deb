"""fct_experiment_outcomes: the people behind the results, their timeline, and what is left of them after they are erased."""

from datetime import date

import duckdb
import pytest

from tests.operations.conftest import environ_of, invoke

from .experiments import ExperimentWarehouse, at, clock, evaluation, event, experiment, link, metric

PEOPLE = [f"{variation}-{i}@example.com" for variation in ("control", "blue") for i in range(60)]
ANN = PEOPLE[-1]
METRICS = (
    metric("bought"),
    metric("orders", event_name="bought", aggregation="count"),
    metric("spent", event_name="bought", aggregation="sum"),
    metric(
        "spent_per_view",
        event_name="bought",
        aggregation="ratio",
        numerator_aggregation="sum",
        denominator_event_name="viewed",
        denominator_aggregation="count",
    ),
    metric("days_with_order", event_name="bought", aggregation="days"),
    metric("hours_to_order", event_name="bought", aggregation="hours_to_first", conversion_window_hours=96),
    metric("earned", event_name="bought", aggregation="sum"),
)
LATE = 49.5  # hours: between the two purchases of day 2


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    """Four experiments about one flag. Everybody is evaluated on day 0, views on day 1, and buys twice on day 2 and once on day 3.

    Two experiments run all the time, one ends between the purchases of day 2, and one begins there, with another evaluation.
    """
    warehouse = ExperimentWarehouse(tmp_path_factory.mktemp("people"))
    warehouse.land(
        [
            evaluation(name, hours + i / 100, name.split("-")[0], 50.0 if "blue" in name else None)
            for hours in (1, LATE)
            for i, name in enumerate(PEOPLE)
        ]
        + [clock(24 * 10)]
    )
    warehouse.give(
        "experiments",
        [
            experiment("first"),
            experiment("second"),
            experiment("early", ended_at=str(at(LATE - 0.1))),
            experiment("late", started_at=str(at(LATE))),
        ],
    )
    warehouse.give("metrics", list(METRICS))
    warehouse.give(
        "experiment_metrics",
        [link("first", one["metric_key"]) for one in METRICS if one["metric_key"] != "earned"]
        + [link("second", "spent"), link("late", "spent"), link("early", "earned"), link("late", "earned")],
    )
    events = [
        event(name, kind, hours + i / 100, value + i)
        for i, name in enumerate(PEOPLE)
        for kind, hours, value in (
            ("viewed", 24, 0),
            ("bought", 48, 10),
            ("bought", 50, 20.5),
            ("bought", 72, 5),
            ("bought", 0, 1000),  # before the first evaluation
        )
    ]
    warehouse.give("conversion_events", [*events, event("a stranger", "bought", 48, 1)])
    warehouse.run("run", "--select", "+marts.experiment_results", "+dim_identities")
    return warehouse


def test_outcomes__by_person_and_day__add_up_to_the_results(warehouse):
    """Given metrics whose results are sums; then the sums over each variation's people are those that the results are computed from."""
    unequal = warehouse.query("""
        with sums as (
            select outcomes.experiment_key, metric_key, assigned.variation, sum(outcome_sum) as outcome_sum,
                sum(denominator_sum) as denominator_sum
            from marts.fct_experiment_outcomes as outcomes
            inner join marts.fct_experiment_assignments as assigned using (experiment_key, identity)
            group by all
        )
        select experiment_key, metric_key, variation, sums.outcome_sum, results.outcome_sum as of_the_results
        from (from marts.fct_experiment_results where population = 'assigned') as results
        full join sums using (experiment_key, metric_key, variation)
        -- A row that only one of the two has is unequal, too.
        where metric_key <> 'bought' and not coalesce(
            abs(sums.outcome_sum - results.outcome_sum) <= 1e-6 and abs(sums.denominator_sum - results.denominator_sum) <= 1e-6, false
        )
    """)
    assert unequal == []
    converted = warehouse.query("""
        select sum(outcome_sum) as results,
            (select count(distinct identity) from marts.fct_experiment_outcomes where metric_key = 'bought') as people
        from marts.fct_experiment_results where metric_key = 'bought' and population = 'assigned'
    """)
    assert converted == [{"results": 120, "people": 120}]


def test_outcomes__of_one_person__a_row_a_day_with_the_first_time(warehouse):
    found = warehouse.query(
        "select day, outcome_sum, outcome_count, denominator_sum, first_occurred_at from marts.fct_experiment_outcomes"
        " where identity = ? and metric_key = 'spent_per_view' order by day",
        ANN,
    )
    i = len(PEOPLE) - 1
    assert [tuple(row.values()) for row in found] == [
        (date(2026, 1, 2), 0, 0, 1, None),
        (date(2026, 1, 3), 30.5 + 2 * i, 2, 0, at(48 + i / 100)),
        (date(2026, 1, 4), 5 + i, 1, 0, at(72 + i / 100)),
    ]


def test_timeline__outcomes__each_once_whatever_number_of_experiments_count_it(warehouse):
    """Given a purchase that three experiments count, one of them without an earlier one of its day, and a view that only divides;
    then the purchases of a day are there once, with who counts them, and the view is not."""
    found = warehouse.query(
        "select \"at\", name, after, why from marts.timeline_of('production', ?) where kind = 'outcome'", ANN
    )
    i = len(PEOPLE) - 1
    spent = [tuple(row.values()) for row in found if row["name"] == "spent"]
    assert spent == [
        (at(48 + i / 100), "spent", f"{30.5 + 2 * i:g}", "counts for first, second; in part for late"),
        (at(72 + i / 100), "spent", f"{5 + i}", "counts for first, late, second"),
    ]
    assert {row["at"] for row in found if row["name"] != "earned"} == {at(48 + i / 100), at(72 + i / 100)}
    assert warehouse.query("from marts.timeline_of('staging', ?)", ANN) == []


def test_outcomes_of__experiments_that_count_different_purchases_of_a_day__a_row_each(warehouse):
    """Given an experiment that ended between two purchases and one that began there; then each purchase is there once, and none is lost."""
    found = warehouse.query(
        "from marts.outcomes_of('production', ?) where metric_key = 'earned' order by occurred_at", ANN
    )
    i = len(PEOPLE) - 1
    assert [tuple(row.values()) for row in found] == [
        (at(48 + i / 100), "earned", 10 + i, 1, ["early"], None),
        (at(50 + i / 100), "earned", 20.5 + i, 1, ["late"], None),
        (at(72 + i / 100), "earned", 5 + i, 1, ["late"], None),
    ]


def test_erase__a_person_with_outcomes__leaves_the_mart_and_its_published_copy(warehouse):
    """Given a person whose events stay in the relation that the user fills; when erased; then no outcome names them, nor after a build."""
    environ = environ_of(warehouse.directory)
    ran = invoke(environ, "erase", "--identity", ANN)
    assert ran.exit_code == 0, ran.output
    count = "select count(*), count(*) filter (identity = ?) from marts.fct_experiment_outcomes"
    for file in ("warehouse.duckdb", "published.duckdb"):
        with duckdb.connect(str(warehouse.directory / file), read_only=True) as connection:
            rows, of_the_person = connection.execute(count, [ANN]).fetchone()
        assert rows > 0 and of_the_person == 0, file
    # Models that know people by number keep nobody else's number.
    for model in ("int_experiment_outcomes", "int_experiment_timed_outcomes"):
        numbers = (
            f"select count(*) as n from intermediate.{model} "
            "anti join intermediate.int_experiment_assignments using (identity_number)"
        )
        assert warehouse.query(numbers) == [{"n": 0}], model
    warehouse.run("run", "--select", "+marts.experiment_results")
    assert warehouse.query(
        "select count(*) as n from marts.fct_experiment_outcomes where identity = ?", ANN
    ) == [{"n": 0}]
