"""Flagsmith's own events: exposures that activate, outcomes, the clock, and what of them cannot be read."""

import json
from datetime import timedelta

import duckdb
import pytest

from .experiments import OUTCOMES, ExperimentWarehouse, at, clock, evaluation, event, experiment, link, metric

BLUE = ("blue", 50.0)
KEYS = {"production": {"key": "clientside"}, "staging": {"key": "other"}, "preview": {"key": "third"}}
COLUMNS = {
    "environment_key": "varchar",
    "event": "varchar",
    "feature_name": "varchar",
    "timestamp": "timestamptz",
    "collected_at": "timestamptz",
    "identifier": "varchar",
    "value": "varchar",
    "traits": "json",
    "metadata": "json",
    "sdk_language": "varchar",
    "sdk_version": "varchar",
}
TABLE = "flagsmith_exp.events"


def sent(identifier: str | None, name: str, hours: float, value: str | None = None, **columns) -> dict:
    """An event as Flagsmith stores it, collected a minute after it happened."""
    return {
        "environment_key": "clientside",
        "event": name,
        "feature_name": "",
        "timestamp": f"{at(hours)}+00",
        "collected_at": f"{at(hours) + timedelta(minutes=1)}+00",
        "identifier": identifier,
        "value": value,
        "traits": "{}",
        "metadata": "{}",
        "sdk_language": "python",
        "sdk_version": "5.1.0",
    } | columns


def exposed(identifier: str | None, hours: float, variant: str = "control", **columns) -> dict:
    return sent(identifier, "$flag_exposure", hours, variant, **{"feature_name": "checkout"} | columns)


def store(warehouse: ExperimentWarehouse, events: list[dict], types: dict | None = None, **variables) -> None:
    """Put the events into the table that the var names."""
    types = COLUMNS | (types or {})
    columns = {name: kind for name, kind in types.items() if kind}
    parts = ", ".join(f"cast(given ->> '{name}' as {kind}) as {name}" for name, kind in columns.items())
    with duckdb.connect(warehouse.path) as connection:
        connection.execute("set timezone = 'UTC'; create schema if not exists flagsmith_exp")
        connection.execute(
            f"create or replace table {TABLE} as select {parts} from (select unnest(?::json[]) as given)",
            [[json.dumps(one) for one in events]],
        )
    warehouse.settings |= {"flagsmith_events_table": TABLE, "flagsmith_environments": KEYS} | variables


def given(
    directory, webhooks: list, events: list[dict] | None, outcomes=(), **settings
) -> ExperimentWarehouse:
    warehouse = ExperimentWarehouse(directory)
    if webhooks:
        warehouse.land(webhooks)
    declared = {"activation_event": "$flag_exposure"} | settings
    warehouse.give("experiments", [experiment("shop", **declared)])
    warehouse.give("metrics", [metric("spent", aggregation="sum")])
    warehouse.give("experiment_metrics", [link("shop", "spent")])
    warehouse.give("conversion_events", list(outcomes))
    if events is not None:
        store(warehouse, events)
    return warehouse


WEBHOOKS = [
    *[evaluation(name, 1) for name in ("ann", "bob", "cem", "dee", "eve")],
    *[evaluation(name, 1, *BLUE) for name in ("fay", "gus", "hal")],
    evaluation("tester", 1),
    evaluation("ann", 2, feature="banner", feature_id=2),
    evaluation("zoe", 1, environment="staging"),
    clock(24),
]
EVENTS = [
    # Ann: delivered twice; a later exposure.
    exposed("ann", 2),
    exposed("ann", 2, collected_at=f"{at(9)}+00"),
    exposed("ann", 5),
    # Bob's exposure is of another feature, Cem's in another environment, Dee's has no key that is declared.
    exposed("bob", 2, feature_name="banner"),
    exposed("cem", 2, environment_key="other"),
    exposed("dee", 2, environment_key="ser.verside"),
    # Eve was exposed before she was evaluated, and to another variation.
    exposed("eve", 0.5, "v-blue"),
    # Fay by the declared key, Gus by a key that nobody declared, Hal by the text of the value.
    exposed("fay", 3, "v-blue"),
    exposed("gus", 3, "v-unknown"),
    exposed("hal", 3, "blue"),
    # Not evaluated; a tester; nobody.
    exposed("stranger", 3, "v-blue"),
    exposed("tester", 3),
    exposed(None, 3),
    exposed("", 3),
    # Outcomes.
    sent("ann", "spent", 3, "10"),
    sent("ann", "spent", 3, "10", collected_at=f"{at(4)}+00"),
    sent("ann", "spent", 3, "10", metadata='{"item": 2}'),
    sent("ann", "spent", 4, "10"),
    sent("fay", "spent", 4, "12,50"),
    sent("fay", "spent", 4, " 7.5 "),
    sent(None, "spent", 4, "1"),
    sent("hal", "spent", 4, "100", environment_key="other"),
    sent("hal", "spent", 4, "100", environment_key="ser.verside"),
    sent("hal", "spent", 4, "100", environment_key=""),
    sent("hal", "$page", 4, environment_key="third"),
    sent("ann", "$page", 4, "100"),
]
VARIANTS = [("checkout", "blue", "v-blue"), ("banner", "blue", "v-unknown")]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    warehouse = given(tmp_path_factory.mktemp("events"), WEBHOOKS, EVENTS, [event("hal", "spent", 5, 3.0)])
    warehouse.give("test_identities", [{"identity": "tester"}])
    with duckdb.connect(warehouse.path) as connection:
        connection.execute(
            "create table given.variants (feature_name varchar, variation varchar, variant_key varchar)"
        )
        connection.executemany("insert into given.variants values (?, ?, ?)", VARIANTS)
    warehouse.settings["variants"] = "given.variants"
    warehouse.run()
    return warehouse


def activated(warehouse: ExperimentWarehouse) -> dict:
    return {
        row["identity"]: row["activated_at"]
        for row in warehouse.mart("fct_experiment_assignments")
        if row["activated_at"]
    }


def warnings(warehouse: ExperimentWarehouse) -> list[tuple]:
    return sorted(
        (row["column_name"], row["cell"] or "", row["problem"])
        for row in warehouse.mart("experiment_declaration_problems")
        if row["declared_in"] == TABLE
    )


def checks(warehouse: ExperimentWarehouse) -> dict[str, dict]:
    return {row["check_name"]: row for row in warehouse.mart("fct_experiment_health")}


def test_activation__exposures_of_the_feature__alone_and_not_before_the_first_evaluation(warehouse):
    assert activated(warehouse) == {"ann": at(2), "eve": at(1), "fay": at(3), "gus": at(3), "hal": at(3)}


def test_outcomes__of_both_sources__once_each_and_typed(warehouse):
    """Given 10 delivered twice, 10 of another item, 10 an hour later; when read; then three of them count."""
    rows = warehouse.query(
        "select environment, identity, value, unusable_column, unusable_cell from intermediate.int_outcomes"
        " order by environment, identity, occurred_at, value"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("production", "ann", 10, None, None),
        ("production", "ann", 10, None, None),
        ("production", "ann", 10, None, None),
        ("production", "fay", 7.5, None, None),
        ("production", "fay", None, "value", "12,50"),
        ("production", None, 1, "identity", None),
        ("staging", "hal", 100, None, None),
        (None, "hal", 3, None, None),
    ]
    means = {
        row["variation"]: row["outcome_sum"]
        for row in warehouse.mart("fct_experiment_results")
        if row["population"] == "assigned"
    }
    assert means == {"control": 30, "blue": 10.5}


def test_mart__exposure_events__have_the_variation_of_their_key(warehouse):
    rows = warehouse.query(
        "select identity, variant_key, variation, assigned_variation, first_occurred_at, last_occurred_at"
        " from marts.fct_experiment_exposure_events order by identity"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("ann", "control", "control", "control", at(2), at(5)),
        ("eve", "v-blue", "blue", "control", at(0.5), at(0.5)),
        ("fay", "v-blue", "blue", "blue", at(3), at(3)),
        ("gus", "v-unknown", None, "blue", at(3), at(3)),
        ("hal", "blue", "blue", "blue", at(3), at(3)),
        ("stranger", "v-blue", "blue", None, at(3), at(3)),
    ]


def test_health__webhooks_and_events_side_by_side__counts_both_ways(warehouse):
    found = checks(warehouse)
    never = found["evaluated_but_not_exposed"]
    assert (never["status"], never["value"]) == ("ok", pytest.approx(3 / 8))
    assert never["message"].startswith("3 of 8 assigned identities have no exposure event")
    strangers = found["exposed_but_not_evaluated"]
    assert (strangers["status"], strangers["value"]) == ("warn", pytest.approx(1 / 6))
    assert strangers["message"].startswith("1 of 6 exposed identities have no evaluation by webhook")
    other = found["exposed_in_another_variation"]
    assert (other["status"], other["value"]) == ("warn", pytest.approx(1 / 5))
    assert other["message"].startswith("1 of 5 assigned identities with an exposure event")


def test_warnings__keys_and_events_that_cannot_be_placed__are_counted(warehouse):
    assert warnings(warehouse) == [
        ("environment_key", "", "1 event without an environment_key: left out"),
        ("environment_key", "preview", "1 event of an environment from which no webhook has come"),
        (
            "environment_key",
            "ser.verside",
            "2 events of an environment_key that vars: flagsmith_environments does not have: left out",
        ),
        ("event", "spent", "this event is also in given.conversion_events, and each of them counts"),
        ("identifier", "checkout", "2 exposures of the feature without an identifier: left out"),
        ("identity", "", "1 outcome of the event spent without identity: left out"),
        (
            "value",
            "12,50",
            "1 outcome of the event spent with a value that is not a finite number: the value is left out",
        ),
        ("value", "v-unknown", "1 exposure of checkout with a variant key that is no variation of it"),
    ]


HASHES = [f"{number:032x}" for number in range(3)]
RENAMED = [
    *[evaluation(name, 1) for name in ("ann", "bob", "cem", "device")],
    evaluation("fay", 1, *BLUE),
    # Renamed at 10, and another feature takes the name over at 12.
    evaluation("ann", 10, feature="payment"),
    evaluation("ann", 12, feature_id=7, delivery_id="taken over"),
    # In a rollout beside it: another experiment of the same feature.
    evaluation("rae", 2, *BLUE, reason="segment_override"),
    evaluation("rob", 2, reason="segment_override"),
    *[evaluation(name, 1, environment="staging") for name in HASHES],
    clock(24),
]
LATER = [
    exposed("ann", 2),
    exposed("bob", 11, feature_name="payment"),
    exposed("cem", 13),
    exposed("rae", 3, "blue"),
    exposed("u-1", 4),
    # A tester, by another identity.
    exposed("u-2", 4),
    exposed("ada", 3, environment_key="other"),
    # After the last webhook.
    sent("fay", "spent", 25, "1"),
    sent("nobody", "$ping", 26),
    # A clock that is wrong, and a time that nobody vouches for.
    sent("fay", "spent", 9999, "2", collected_at=f"{at(27)}+00"),
    sent("fay", "spent", 9999, "2", collected_at=f"{at(28)}+00"),
    sent("fay", "spent", 500, "4", collected_at=None),
    exposed("fay", 500, "blue", collected_at=None),
    sent("ada", "spent", 100, environment_key="other"),
]


def in_later_hours(directory, events: list[dict] | None) -> ExperimentWarehouse:
    warehouse = given(directory, RENAMED, events)
    settings = {"activation_event": "$flag_exposure"}
    declared = [
        experiment("shop", **settings),
        experiment("short", ended_at=str(at(27)), **settings),
        experiment("rollout", assignment_reason="segment_override", **settings),
        experiment("hashed", environment="staging", **settings),
    ]
    warehouse.give("experiments", declared)
    warehouse.give("experiment_metrics", [link(one["experiment_key"], "spent") for one in declared])
    users = {"device": "u-1", "test device": "u-2"}
    warehouse.give("identity_map", [{"identity": one, "user_id": user} for one, user in users.items()])
    warehouse.give("test_identities", [{"identity": "test device"}])
    return warehouse


@pytest.fixture(scope="module")
def later(tmp_path_factory):
    warehouse = in_later_hours(tmp_path_factory.mktemp("later"), LATER)
    warehouse.run()
    return warehouse


def test_clock__events_after_the_last_webhook__move_it_but_not_beyond_what_was_collected(later):
    rows = {row["experiment_key"]: row for row in later.mart("dim_experiments")}
    assert {key: row["last_received_at"] for key, row in rows.items()} == {
        "shop": at(28),
        "short": at(28),
        "rollout": at(28),
        "hashed": at(100),
    }
    assert {key: row["status"] for key, row in rows.items()} == {
        "shop": "running",
        "short": "ended",
        "rollout": "running",
        "hashed": "running",
    }
    sums = {
        row["experiment_key"]: row["outcome_sum"]
        for row in later.mart("fct_experiment_results")
        if (row["population"], row["variation"]) == ("assigned", "blue")
        and row["experiment_key"] != "rollout"
    }
    assert sums == {"shop": 3, "short": 1}
    freshness = [
        row["message"]
        for row in later.mart("fct_experiment_health")
        if (row["experiment_key"], row["check_name"]) == ("shop", "data_freshness")
    ]
    assert freshness == ["The last outcome is at most 24 hours older than the last webhook or event."]


def test_activation__feature_renamed_or_in_two_experiments__follows_the_feature(later):
    rows = later.query(
        "select experiment_key, identity from marts.fct_experiment_assignments where activated_at is not null order by all"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("rollout", "rae"),
        *[("shop", name) for name in ("ann", "bob", "u-1")],
        *[("short", name) for name in ("ann", "bob", "u-1")],
    ]


def test_mart__tester_with_another_identity__has_no_exposures(later):
    rows = later.query(
        "select distinct identity from marts.fct_experiment_exposure_events where identity like 'u-%'"
    )
    assert [row["identity"] for row in rows] == ["u-1"]


def test_health__every_identity_hashed_and_no_event__says_how_to_hash(later):
    (row,) = [
        row
        for row in later.mart("fct_experiment_health")
        if (row["experiment_key"], row["check_name"]) == ("hashed", "exposed_but_not_evaluated")
    ]
    assert row["status"] == "warn" and "flagsmith-warehouse hash --help" in row["message"]


MARTS = (
    *("dim_experiments", "fct_experiment_assignments", "fct_experiment_health", "fct_experiment_results"),
    *("fct_experiment_results_daily", "experiment_declaration_problems", "fct_experiment_exposure_events"),
)


def marts(warehouse: ExperimentWarehouse, without: tuple = ()) -> dict:
    return {name: sorted(map(str, warehouse.mart(name))) for name in MARTS if name not in without}


def test_marts__the_var_named_and_taken_away__equal_those_that_never_had_it(later, tmp_path):
    """Given a table without rows; then marts differ in health and in warnings alone. Given none; then in nothing."""
    never = in_later_hours(tmp_path, None)
    never.run()
    before = marts(never)
    assert before["fct_experiment_exposure_events"] == []
    assert "is an exposure of the feature" not in str(before["experiment_declaration_problems"])
    store(never, [])
    never.run()
    told = ("fct_experiment_health", "experiment_declaration_problems")
    assert marts(never, told) == {name: rows for name, rows in before.items() if name not in told}
    assert "no exposure of the feature checkout" in str(never.mart("fct_experiment_health"))
    assert "is an exposure of the feature checkout" in str(never.mart("experiment_declaration_problems"))
    del never.settings["flagsmith_events_table"]
    never.run()
    assert marts(never) == before != marts(later)
    # What to do about $flag_exposure as activation_event is said as soon as there are any outcomes.
    never.give("conversion_events", [event("ann", "other", 5)])
    never.run("run", "--select", "+experiment_declaration_problems")
    assert "in `vars: flagsmith_events_table`" in str(never.mart("experiment_declaration_problems"))


def test_round_trip__our_own_mart_as_the_sdks_events__exposes_everybody_as_assigned(tmp_path):
    warehouse = given(tmp_path, WEBHOOKS, None)
    warehouse.settings["flagsmith_environments"] = KEYS
    warehouse.run("run", "--select", "+flagsmith_events")
    with duckdb.connect(warehouse.path) as connection:
        connection.execute(
            "create schema flagsmith_exp; create table flagsmith_exp.events as"
            " from marts.flagsmith_events select * replace ('python' as sdk_language)"
        )
    warehouse.settings["flagsmith_events_table"] = TABLE
    warehouse.run()
    assigned = warehouse.mart("fct_experiment_assignments")
    assert len(assigned) == 9 and all(row["activated_at"] == row["first_exposed_at"] for row in assigned)
    found = warehouse.mart("fct_experiment_exposure_events")
    assert {row["identity"]: row["variation"] for row in found} == {
        row["identity"]: row["variation"] for row in assigned
    }
    health = checks(warehouse)
    names = ("evaluated_but_not_exposed", "exposed_but_not_evaluated", "exposed_in_another_variation")
    assert [(health[name]["status"], health[name]["value"]) for name in names] == [("ok", 0)] * 3
    # The mart itself is no proof of an exposure: it is made of evaluations.
    warehouse.settings["flagsmith_events_table"] = "marts.flagsmith_events"
    warehouse.run("run", "--select", "+fct_experiment_assignments", "+experiment_declaration_problems")
    assert activated(warehouse) == {}
    problems = [row["problem"] for row in warehouse.mart("experiment_declaration_problems")]
    assert "9 events that this project made of webhooks (the mart flagsmith_events): left out" in problems


def test_warnings__before_any_webhook__say_each_event_once(tmp_path):
    warehouse = given(tmp_path, [], [exposed("ann", 2), exposed("ann", 2, environment_key="ser.verside")])
    warehouse.run("run", "--select", "+int_flagsmith_event_warnings")
    rows = warehouse.mart("int_flagsmith_event_warnings", "intermediate")
    assert sorted((row["column_name"], row["cell"]) for row in rows) == [
        ("environment_key", "production"),
        ("environment_key", "ser.verside"),
    ]


READ = (*OUTCOMES, "int_flagsmith_outcomes")


@pytest.fixture(scope="module")
def brought(tmp_path_factory):
    return ExperimentWarehouse(tmp_path_factory.mktemp("brought"))


def problems(warehouse: ExperimentWarehouse) -> list[tuple]:
    return [
        (row["severity"], row["declared_in"], row["column_name"], row["problem"])
        for row in warehouse.mart("int_outcome_problems", "intermediate")
    ]


@pytest.mark.parametrize(
    "types, hours, offset",
    [
        ({}, 5, "+02:00"),
        ({"timestamp": "timestamp_ms", "collected_at": "timestamp", "metadata": "varchar"}, 3, ""),
        ({"timestamp": "varchar", "collected_at": "varchar", "value": "double"}, 5, "+02:00"),
        (
            {"metadata": "struct(a int)", "traits": None, "sdk_language": None, "sdk_version": None},
            3,
            "+00:00",
        ),
    ],
    ids=["as in PostgreSQL", "as in ClickHouse", "texts", "fewer columns"],
)
def test_events__types_of_other_databases_in_a_session_elsewhere__are_read(
    brought, monkeypatch, types, hours, offset
):
    monkeypatch.setenv("TZ", "America/New_York")
    moment = {"timestamp": f"{at(hours)}{offset}", "collected_at": f"{at(hours + 1)}{offset}"}
    store(brought, [sent("ann", "spent", hours, "10", **moment)] * 2, types)
    brought.run(*READ)
    rows = brought.query("select identity, value, occurred_at from intermediate.int_outcomes")
    assert [tuple(row.values()) for row in rows] == [("ann", 10, at(3))] and problems(brought) == []


@pytest.mark.parametrize(
    "types, variables, column, problem",
    [
        (
            {"collected_at": None},
            {},
            "collected_at",
            f"{TABLE} has no column collected_at, but environment_key, ",
        ),
        (
            {"timestamp": "date"},
            {},
            "timestamp",
            f"{TABLE}.timestamp is of type DATE; accepted are timestamp",
        ),
        ({}, {"flagsmith_events_table": "gone.events"}, None, "there is no relation gone.events"),
        ({}, {"flagsmith_events_table": '"my events".gone'}, None, 'there is no relation "my events".gone'),
        (
            {},
            {"flagsmith_environments": KEYS | {"live": KEYS["production"]}},
            "environment_key",
            "the environments production and live have the same key",
        ),
        (
            {},
            {"flagsmith_events_table": f"(select * replace (cast(value as int) as value) from {TABLE})"},
            None,
            f"(select * replace (cast(value as int) as value) from {TABLE}) cannot be read: ",
        ),
    ],
)
def test_events__a_relation_that_cannot_be_read__is_refused_by_name(
    brought, types, variables, column, problem
):
    store(brought, [sent("ann", "spent", 3, "ten")], types, **variables)
    brought.run(*READ)
    assert brought.mart("int_outcomes", "intermediate") == []
    ((severity, declared_in, found, said),) = problems(brought)
    assert (severity, found) == ("problem", column) and said.startswith(problem)
    assert declared_in == variables.get("flagsmith_events_table", TABLE)
