"""What people bring as outcomes: every type that is accepted, every one that is refused, and single values that are wrong."""

import math
from datetime import datetime

import duckdb
import pytest

from .experiments import OUTCOMES, ExperimentWarehouse, evaluation, experiment, link, metric

NOON = datetime(2026, 1, 9, 12)
ONE = (
    "select 'ada' as identity, 'buy' as event_name, timestamp '2026-01-09 12:00' as occurred_at, 2.5 as value"
)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    return ExperimentWarehouse(tmp_path_factory.mktemp("outcomes"))


def bring(
    warehouse: ExperimentWarehouse, query: str, kind: str = "table", name: str = "brought.events"
) -> None:
    """Name a table or view of that query as the relation with the outcomes."""
    warehouse.given.add("conversion_events")
    with duckdb.connect(warehouse.path) as connection:
        connection.execute("create schema if not exists brought")
        connection.execute("drop table if exists brought.events; drop view if exists brought.seen")
        connection.execute(f"create {kind} {name} as {query}")
    warehouse.settings["conversion_events"] = name


def read(warehouse: ExperimentWarehouse) -> tuple[list[dict], list[dict]]:
    """The outcomes and their problems."""
    warehouse.run(*OUTCOMES)
    outcomes = warehouse.query(
        "select environment, identity, event_name, occurred_at, value, unusable_column, unusable_cell"
        " from intermediate.int_outcomes order by identity, event_name, occurred_at"
    )
    return outcomes, warehouse.mart("int_outcome_problems", "intermediate")


ACCEPTED = {
    "as they should be": (ONE, "ada", NOON, 2.5),
    "bigint identity, integer value": (
        "select 42::bigint as identity, 'buy' as event_name, timestamp '2026-01-09 12:00' as occurred_at, 7::integer as value",
        "42",
        NOON,
        7,
    ),
    "huge integers": (
        "select 170141183460469231731687303715884105727::hugeint as identity, 'buy' as event_name,"
        " timestamp_s '2026-01-09 12:00:00' as occurred_at, 7::uhugeint as value",
        "170141183460469231731687303715884105727",
        NOON,
        7,
    ),
    "with a time zone, decimal": (
        "select 'ada' as identity, 'buy' as event_name, timestamptz '2026-01-09 14:00:00+02' as occurred_at,"
        " 7.25::decimal(18, 2) as value",
        "ada",
        NOON,
        7.25,
    ),
    "date, float": (
        "select 'ada' as identity, 'buy' as event_name, date '2026-01-09' as occurred_at, 0.5::float as value",
        "ada",
        datetime(2026, 1, 9),
        0.5,
    ),
    "nanoseconds": (
        "select 'ada' as identity, 'buy' as event_name, timestamp_ns '2026-01-09 12:00:00' as occurred_at, 1 as value",
        "ada",
        NOON,
        1,
    ),
    "before 1970": (
        "select 'ada' as identity, 'buy' as event_name, timestamp '1969-12-31 23:59:59' as occurred_at, 1 as value",
        "ada",
        datetime(1969, 12, 31, 23, 59, 59),
        1,
    ),
    "text with an offset, text value": (
        "select 'ada' as identity, 'buy' as event_name, '2026-01-09T14:00:00+02:00' as occurred_at, '1e3' as value",
        "ada",
        NOON,
        1000,
    ),
    "text with another offset": (
        "select 'ada' as identity, 'buy' as event_name, ' 2026-01-09 06:30:00.000-0530 ' as occurred_at, null as value",
        "ada",
        NOON,
        None,
    ),
    "text in UTC": (
        "select 'ada' as identity, 'buy' as event_name, '2026-01-09t12:00z' as occurred_at, '' as value",
        "ada",
        NOON,
        None,
    ),
    "text with a blank before its offset": (
        "select 'ada' as identity, 'buy' as event_name, '2026-01-09 14:00:00 +02:00' as occurred_at, null as value",
        "ada",
        NOON,
        None,
    ),
    "text in UTC by name": (
        "select 'ada' as identity, 'buy' as event_name, '2026-01-09 12:00:00 UTC' as occurred_at, null as value",
        "ada",
        NOON,
        None,
    ),
    "text without an offset": (
        "select 'ada' as identity, 'buy' as event_name, '2026-01-09 12:00:00' as occurred_at, ' 7 ' as value",
        "ada",
        NOON,
        7,
    ),
    "text of a day": (
        "select 'ada' as identity, 'buy' as event_name, '2026-01-09' as occurred_at, -1 as value",
        "ada",
        datetime(2026, 1, 9),
        -1,
    ),
    "no value, more columns, capitals": (
        "select 'ada' as \"IDENTITY\", 'buy' as \"Event_Name\", timestamp '2026-01-09 12:00' as \"OCCURRED_AT\", 'x' as note",
        "ada",
        NOON,
        None,
    ),
    "enumerations": (
        "select 'ada'::enum('ada') as identity, 'buy'::enum('buy') as event_name,"
        " timestamp_ms '2026-01-09 12:00:00' as occurred_at, 1 as value",
        "ada",
        NOON,
        1,
    ),
}


@pytest.mark.parametrize("query, identity, occurred_at, value", ACCEPTED.values(), ids=ACCEPTED)
def test_outcomes__accepted_types_in_a_session_elsewhere__read_as_text_utc_and_double(
    warehouse, monkeypatch, query, identity, occurred_at, value
):
    monkeypatch.setenv("TZ", "America/New_York")
    bring(warehouse, query)
    outcomes, problems = read(warehouse)
    assert problems == []
    found = [(row["identity"], row["event_name"], row["occurred_at"], row["value"]) for row in outcomes]
    assert found == [(identity, "buy", occurred_at, value)]


def test_outcomes__view_whose_environment_is_empty__counts_everywhere(warehouse):
    bring(
        warehouse,
        ONE + ", null as environment union all " + ONE.replace("ada", "bob") + ", ''",
        "view",
        "brought.seen",
    )
    outcomes, problems = read(warehouse)
    assert problems == [] and [row["environment"] for row in outcomes] == [None, None]


REFUSED = {
    "time as a number": (
        "select 'ada' as identity, 'buy' as event_name, 1767960000 as occurred_at",
        "occurred_at",
        ["brought.events.occurred_at is of type INTEGER", "timestamp with time zone", "date", "text"],
    ),
    "identity as a float": (
        "select 42.0::double as identity, 'buy' as event_name, timestamp '2026-01-09' as occurred_at",
        "identity",
        ["brought.events.identity is of type DOUBLE", "text, integer"],
    ),
    "value as a truth": (
        "select 'ada' as identity, 'buy' as event_name, timestamp '2026-01-09' as occurred_at, true as value",
        "value",
        ["brought.events.value is of type BOOLEAN", "integer, decimal, float"],
    ),
    "event as a list": (
        "select 'ada' as identity, ['buy'] as event_name, timestamp '2026-01-09' as occurred_at",
        "event_name",
        ["brought.events.event_name is of type VARCHAR[]", "text"],
    ),
    "environment as a number": (
        ONE + ", 1 as environment",
        "environment",
        ["brought.events.environment is of type INTEGER", "text"],
    ),
    "no time": (
        "select 'ada' as identity, 'buy' as event_name, now() as happened_at",
        "occurred_at",
        ["brought.events has no column occurred_at, but identity, event_name, happened_at"],
    ),
}


@pytest.mark.parametrize("query, column, words", REFUSED.values(), ids=REFUSED)
def test_outcomes__other_types__refused_by_name_and_nothing_counted(warehouse, query, column, words):
    bring(warehouse, query)
    outcomes, problems = read(warehouse)
    assert outcomes == []
    assert [(row["severity"], row["declared_in"], row["column_name"]) for row in problems] == [
        ("problem", "brought.events", column)
    ]
    assert [word for word in words if word not in problems[0]["problem"]] == [] and problems[0]["remedy"]


def test_outcomes__relation_that_does_not_exist__named(warehouse):
    bring(warehouse, ONE)
    warehouse.settings["conversion_events"] = "brought.evnets"
    outcomes, problems = read(warehouse)
    assert outcomes == []
    assert [row["problem"] for row in problems] == ["there is no relation brought.evnets"]


@pytest.mark.parametrize(
    "relation",
    [
        "brought.seen",
        "(select * from brought.events)",
        "read_csv('/nowhere/outcomes.csv')",
        "(select * replace (cast(event_name as integer) as value) from brought.events_of_a_view)",
    ],
)
def test_outcomes__what_the_relation_reads_is_gone__named_and_nothing_stops(warehouse, relation):
    """Given a view, a query and a file that worked once, and a cast that fails at a row; then the run says what cannot be read."""
    bring(warehouse, ONE)
    with duckdb.connect(warehouse.path) as connection:
        connection.execute("create view brought.seen as select * from brought.events")
        connection.execute(f"create or replace view brought.events_of_a_view as {ONE}")
        connection.execute("drop table brought.events")
    warehouse.settings["conversion_events"] = relation
    outcomes, problems = read(warehouse)
    assert outcomes == []
    assert [(row["cell"], relation in row["problem"]) for row in problems] == [(relation, True)]


def test_outcomes__query_in_place_of_a_name__described(warehouse):
    bring(warehouse, ONE)
    warehouse.settings["conversion_events"] = "(select * from brought.events where value > 2)"
    outcomes, problems = read(warehouse)
    assert problems == [] and len(outcomes) == 1


WRONG_ROWS = [
    (None, "buy", "2026-01-09", "1"),
    ("", "buy", "2026-01-09", "1"),
    ("ada", None, "2026-01-09", "1"),
    ("ada", "", "2026-01-09", "1"),
    ("ada", "buy", "09/01/2026", "1"),
    ("ada", "buy", "01/09/26", "1"),
    ("ada", "buy", "2026-02-30", "1"),
    ("ada", "buy", "infinity", "1"),
    ("ada", "buy", None, "1"),
    ("ada", "buy", "2026-01-09", "nan"),
    ("ada", "buy", "2026-01-09", "-inf"),
    ("ada", "buy", "2026-01-09", "1e400"),
    ("ada", "buy", "2026-01-09", "12,50"),
    ("ada", "buy", "2026-01-09", "twelve"),
]


def test_outcomes__rows_that_cannot_be_used__counted_by_event_and_reason(warehouse):
    rows = ", ".join(
        "(" + ", ".join("null" if cell is None else f"'{cell}'" for cell in row) + ")" for row in WRONG_ROWS
    )
    bring(warehouse, f"from (values {rows}) as t(identity, event_name, occurred_at, value)")
    outcomes, problems = read(warehouse)
    assert len(outcomes) == len(WRONG_ROWS) and {row["severity"] for row in problems} == {"warning"}
    assert {row["column_name"]: row["problem"] for row in problems} == {
        "identity": "2 outcomes of the event buy without identity: left out",
        "event_name": "2 outcomes without event_name: left out",
        "occurred_at": "5 outcomes of the event buy without a time that can be read: left out",
        "value": "5 outcomes of the event buy with a value that is not a finite number: the value is left out",
    }
    cells = {row["column_name"]: row["cell"] for row in problems}
    assert (cells["occurred_at"], cells["value"]) == ("01/09/26", "-inf")
    assert not [row for row in outcomes if row["value"] is not None and row["value"] != 1]


@pytest.mark.parametrize(
    "occurred_at", ["'infinity'::timestamp", "'-infinity'::date", "'infinity'::timestamptz"]
)
def test_outcomes__at_the_end_of_all_time__cannot_be_used(warehouse, occurred_at):
    bring(warehouse, f"select 'ada' as identity, 'buy' as event_name, {occurred_at} as occurred_at")
    _, problems = read(warehouse)
    assert [(row["column_name"], row["severity"]) for row in problems] == [("occurred_at", "warning")]


WRONG_VALUES = ["'nan'::double", "'inf'::double", "'-inf'::double", "1e200"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """60 identities an arm, every outcome 1 to 3; one of blue's is wrong in each way that a double can be."""
    warehouse = ExperimentWarehouse(tmp_path_factory.mktemp("measured"))
    people = [(f"{arm}-{i}", arm) for arm in ("control", "blue") for i in range(60)]
    warehouse.land(
        [evaluation(name, 1, arm, 50.0 if arm == "blue" else None) for name, arm in people]
        + [evaluation("last", 1000)]
    )
    keys = ("bayesian", "flagsmith", "frequentist", "sequential")
    warehouse.give("experiments", [experiment(key, decision_method=key) for key in keys])
    aggregations = ("occurrence", "count", "sum", "mean")
    metrics = [metric(name, event_name="buy", aggregation=name) for name in aggregations]
    metrics += [
        metric("capped", event_name="buy", aggregation="sum", winsorise_percentile=0.9),
        metric("adjusted", event_name="buy", aggregation="sum", before_days=3),
        metric(
            "per visit",
            event_name="visit",
            aggregation="ratio",
            denominator_event_name="buy",
            denominator_aggregation="sum",
        ),
    ]
    warehouse.give("metrics", metrics)
    warehouse.give("experiment_metrics", [link(key, one["metric_key"]) for key in keys for one in metrics])
    rows = [
        f"('{name}', '{event}', timestamp '2026-01-0{day} 12:00', {1 + i % 3})"
        for i, (name, _) in enumerate(people)
        for event, day in (("buy", 2), ("visit", 3))
    ]
    rows += [
        f"('{arm}-{i}', 'buy', timestamp '{time}', {value if arm == 'blue' else 'null'})"
        for i, value in enumerate(WRONG_VALUES)
        for arm in ("blue", "control")
        for time in ("2026-01-02 13:00", "2025-12-31 13:00")
    ]
    bring(warehouse, f"from (values {', '.join(rows)}) as t(identity, event_name, occurred_at, value)")
    warehouse.run()
    return warehouse


def test_measured__values_that_are_no_numbers__no_nan_and_nobody_wins(measured):
    results = measured.mart("fct_experiment_results")
    strange = [
        (row["experiment_key"], row["metric_key"], name, value)
        for mart in ("fct_experiment_results", "fct_experiment_results_daily", "fct_experiment_power")
        for row in measured.mart(mart)
        for name, value in row.items()
        if isinstance(value, float) and not math.isfinite(value)
    ]
    assert strange == []
    blue = [row for row in results if row["variation"] == "blue"]
    assert len(blue) == 3 * 28  # in three populations, since nobody is activated
    assert {row["verdict"] for row in blue if row["status"] != "zero_variance"} == {"inconclusive"}


def test_measured__an_event_without_a_number__happened_all_the_same(measured):
    sums = {
        (row["metric_key"], row["variation"]): row["outcome_sum"]
        for row in measured.mart("fct_experiment_results")
        if row["experiment_key"] == "bayesian"
    }
    assert sums["count", "blue"] == sums["count", "control"] == 64
    assert sums["sum", "blue"] == sums["sum", "control"] == 120
    assert sums["mean", "blue"] == sums["mean", "control"] == 120


def test_measured__health__names_the_event_and_how_many(measured):
    rows = {
        row["experiment_key"]: row
        for row in measured.mart("fct_experiment_health")
        if row["check_name"] == "unusable_outcomes"
    }
    # Four after the exposure, and four in the days before it, by which `adjusted` adjusts.
    assert (rows["bayesian"]["status"], rows["bayesian"]["value"]) == ("warn", 8)
    assert "8 of the event buy with a value that is not a finite number" in rows["bayesian"]["message"]


def test_measured__relation_refused_since__do_not_trust_and_whole_again_once_mended(measured):
    before = measured.mart("fct_experiment_results")
    name = measured.settings["conversion_events"]
    measured.settings["conversion_events"] = "brought.gone"
    measured.run()
    alarm = [
        row for row in measured.mart("fct_experiment_health") if row["check_name"] == "outcomes_readable"
    ]
    assert {row["status"] for row in alarm} == {"alarm"} and "brought.gone" in alarm[0]["message"]
    verdicts = {row["verdict"] for row in measured.mart("fct_experiment_results")}
    assert verdicts == {"control", "do_not_trust"}
    measured.settings["conversion_events"] = name
    measured.run()
    assert sorted(map(repr, before)) == sorted(map(repr, measured.mart("fct_experiment_results")))
