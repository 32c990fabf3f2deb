"""What is under experiment: features by id, states without ties, nothing that is switched off; outcomes up to the clock."""

import duckdb
import pytest

from .experiments import NEEDED, ExperimentWarehouse, evaluation, event, experiment, link, metric
from .test_changes import marts

METRIC = metric("bought", event_name="buy")


def halves(name: str, hours: float, **flag) -> list:
    """100 identities evaluated within the same hour, half of them blue."""
    return [
        evaluation(f"{name}-{i}", hours + i / 100, *(("blue", 50.0) if i % 2 else ("control", None)), **flag)
        for i in range(100)
    ]


def switched_off(environment: str) -> list:
    """While it is off, a flag carries the percentage of whatever it would give."""
    return [
        *halves("before", 1, environment=environment),
        *[
            evaluation(f"{when}-{i}", 3 + i / 100, *shown, enabled=False, environment=environment)
            for i in range(100)
            for when in ("before", "during")
            for shown in [("blue", 50.0) if i % 2 else ("control", None)]
        ],
        *halves("before", 5, environment=environment),
        *halves("during", 6, environment=environment),
    ]


def named(environment: str, hours: float, names: tuple[str, str], identity: str, variations: tuple) -> list:
    """An identity's evaluation of the features 1 and 2, each under the name that it has then, as two deliveries."""
    return [
        evaluation(
            identity,
            hours + number / 1000,
            *variation,
            feature=name,
            feature_id=number,
            environment=environment,
        )
        for number, (name, variation) in enumerate(zip(names, variations, strict=True), 1)
    ]


BLUE, CONTROL = ("blue", 50.0), ("control", None)
WEBHOOKS = [
    *switched_off("off"),
    *switched_off("off as an arm"),
    # Feature 1 is renamed half-way; ada moves before that, bob after it.
    evaluation("ada", 1, *BLUE, environment="renamed"),
    evaluation("bob", 1, *BLUE, environment="renamed"),
    evaluation("ada", 2, "control", environment="renamed", reason="identity_override"),
    evaluation("bob", 3, *BLUE, environment="renamed", feature="payment"),
    evaluation("bob", 4, "control", environment="renamed", feature="payment", reason="identity_override"),
    evaluation("cyd", 5, *BLUE, environment="renamed", feature="payment"),
    # 1 and 2 swap their names.
    *named("swapped", 1, ("checkout", "search"), "ada", (BLUE, CONTROL)),
    *named("swapped", 2, ("search", "checkout"), "ada", (BLUE, CONTROL)),
    *named("swapped", 3, ("search", "checkout"), "bob", (CONTROL, BLUE)),
    # 1 is deleted, and made anew as 2.
    evaluation("ada", 1, *BLUE, environment="recreated"),
    evaluation("ada", 2, *CONTROL, environment="recreated", feature_id=2),
    evaluation("bob", 3, *CONTROL, environment="recreated", feature_id=2),
    # Green is given before the experiment alone, when 1 had yet another name.
    evaluation("ada", -5, "green", 50.0, feature="till", environment="renamed twice"),
    evaluation("bob", 1, *BLUE, environment="renamed twice"),
    evaluation("bob", 3, *BLUE, environment="renamed twice", feature="payment"),
    evaluation("cyd", 4, *CONTROL, environment="renamed twice", feature="payment"),
    # Of two evaluations in the same microsecond the one with the greater delivery_id is the state.
    evaluation("loses blue", 1, *BLUE, environment="ties", delivery_id="a"),
    evaluation("loses blue", 1, *CONTROL, environment="ties", delivery_id="b"),
    evaluation("contradicted by a loser", 1, *CONTROL, environment="ties"),
    evaluation("contradicted by a loser", 2, *BLUE, environment="ties", delivery_id="c"),
    evaluation("contradicted by a loser", 2, *CONTROL, environment="ties", delivery_id="d"),
    evaluation("exposed by a loser", 1, *BLUE, environment="ties", delivery_id="e"),
    evaluation(
        "exposed by a loser", 1, *BLUE, environment="ties", delivery_id="f", feature_id=3, feature="other"
    ),
    evaluation("exposed by a loser", 2, *CONTROL, environment="ties"),
    evaluation("somebody else", 1, *BLUE, environment="ties", delivery_id="0"),
]
EXPERIMENTS = [
    experiment("off", environment="off"),
    experiment("off is control", environment="off as an arm", control_variation="off"),
    experiment("off has a weight", environment="off as an arm", expected_weights="control=1; blue=1; off=2"),
    experiment("renamed", environment="renamed"),
    experiment("by its new name", environment="renamed", feature_name="payment"),
    experiment(
        "renamed twice",
        environment="renamed twice",
        expected_weights="control=1;blue=1;green=1;Green=1;red=1",
    ),
    experiment("capital", environment="off", expected_weights="Control=50;blue=50"),
    experiment("swapped", environment="swapped"),
    experiment("swapped since", environment="swapped", started_at="2026-01-01 01:30"),
    experiment("recreated", environment="recreated"),
    experiment("ties", environment="ties"),
]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    warehouse = ExperimentWarehouse(tmp_path_factory.mktemp("meaning"))
    warehouse.land(WEBHOOKS)
    warehouse.give("experiments", EXPERIMENTS)
    warehouse.give("metrics", [METRIC])
    warehouse.give("experiment_metrics", [link(one["experiment_key"], "bought") for one in EXPERIMENTS])
    warehouse.give("conversion_events", [])
    warehouse.run("run", "--select", NEEDED, "+experiment_declaration_problems")
    return warehouse


@pytest.fixture(scope="module")
def assignments(warehouse):
    found = {}
    for row in warehouse.mart("fct_experiment_assignments"):
        found.setdefault(row["experiment_key"], {})[row["identity"]] = row
    return found


@pytest.fixture(scope="module")
def health(warehouse):
    rows = warehouse.mart("fct_experiment_health")
    return {(row["experiment_key"], row["check_name"], row["epoch"]): row for row in rows}


def variations(assigned: dict) -> dict:
    """Of each identity its variation, and why it is quarantined."""
    return {name: (row["variation"], row["quarantine_reason"]) for name, row in assigned.items()}


def test_off__for_some_hours__neither_weight_nor_epoch_nor_assignment_nor_contradiction(
    warehouse, assignments, health
):
    epochs = warehouse.query(
        "select epoch, variation, weight from intermediate.int_experiment_epochs where experiment_key = 'off'"
    )
    assert {tuple(row.values()) for row in epochs} == {(1, "blue", 50), (1, "control", 50)}
    assigned = assignments["off"].values()
    assert len(assigned) == 200 and not [row for row in assigned if row["is_quarantined"]]
    assert min(row["first_exposed_at"].hour for row in assigned if row["identity"].startswith("during")) == 6
    assert health["off", "sample_ratio", 0]["status"] == "ok"


@pytest.mark.parametrize("experiment_key", ["off is control", "off has a weight"])
def test_off__declared_as_a_variation__is_an_arm_and_carries_no_weight(
    warehouse, assignments, experiment_key
):
    assigned = assignments[experiment_key]
    assert {row["variation"] for name, row in assigned.items() if name.startswith("during")} == {"off"}
    seen = warehouse.query(
        "select distinct percentage_allocation from intermediate.int_experiment_evaluations"
        " where experiment_key = ? and variation = 'off'",
        experiment_key,
    )
    assert [row["percentage_allocation"] for row in seen] == [None]


@pytest.mark.parametrize("experiment_key", ["renamed", "by its new name"])
def test_feature__renamed_half_way__changes_nothing_and_reasons_stay(assignments, experiment_key):
    assert variations(assignments[experiment_key]) == {
        "ada": ("blue", "identity_override_added"),
        "bob": ("blue", "identity_override_added"),
        "cyd": ("blue", None),
    }


def test_weights__name_that_no_delivery_carried__is_a_problem_whatever_the_feature_was_called(warehouse):
    """Given variations carried before a first and after a second change of the feature's name; then only others are unknown."""
    found = warehouse.query(
        "select experiment_key, severity, problem, remedy from marts.experiment_declaration_problems"
        " where severity = 'problem' order by problem"
    )
    assert [(row["experiment_key"], row["severity"], row["problem"], row["remedy"]) for row in found] == [
        ("capital", "problem", "no delivery carried the variation `Control` of checkout", "write `control`"),
        (
            "renamed twice",
            "problem",
            "no delivery carried the variation `Green` of checkout",
            "write `green`",
        ),
        (
            *("renamed twice", "problem", "no delivery carried the variation `red` of checkout"),
            "write its name as in fct_flag_exposures",
        ),
    ]


def test_weights__a_name_in_other_letters__raises_the_alarm_of_the_sample_ratio(assignments, health):
    """Given 100 in control and 100 in blue; then a weight for `Control` is one that nobody has."""
    given = [row["variation"] for row in assignments["capital"].values()]
    assert (given.count("control"), given.count("blue")) == (100, 100)
    assert health["capital", "sample_ratio", 0]["status"] == "alarm"
    assert health["off", "sample_ratio", 0]["status"] == "ok"


def test_feature__swaps_its_name_with_another__the_one_that_had_it_first(assignments, health):
    assert variations(assignments["swapped"]) == {"ada": ("blue", None), "bob": ("control", None)}
    assert variations(assignments["swapped since"]) == {"ada": ("control", None), "bob": ("blue", None)}
    assert "feature 2 had the declared name too" in health["swapped", "one_feature", 0]["message"]
    assert ("swapped since", "one_feature", 0) not in health


def test_feature__deleted_and_made_anew__is_another_one_and_told(assignments, health):
    assert variations(assignments["recreated"]) == {"ada": ("blue", None)}
    assert health["recreated", "one_feature", 0]["status"] == "warn"


def test_ties__loser__neither_assigns_nor_contradicts_nor_exposes(assignments):
    ties = assignments["ties"]
    assert variations(ties) == {
        "loses blue": ("control", None),
        "contradicted by a loser": ("control", None),
        "exposed by a loser": ("control", None),
        "somebody else": ("blue", None),
    }
    assert ties["exposed by a loser"]["first_exposed_at"].hour == 2


def test_health__everything_in_order__says_nothing_of_other_features(health):
    assert {key for key, check, _ in health if check == "one_feature"} == {"swapped", "recreated"}


# The clock


def bought(warehouse: ExperimentWarehouse) -> dict:
    """Outcomes counted, by experiment and variation."""
    return {
        (row["experiment_key"], row["metric_key"], row["variation"]): row["outcome_sum"]
        for row in warehouse.mart("fct_experiment_results")
        if row["population"] == "assigned"
    }


def checks(warehouse: ExperimentWarehouse) -> dict:
    return {
        (row["experiment_key"], row["check_name"]): row for row in warehouse.mart("fct_experiment_health")
    }


@pytest.fixture(scope="module")
def ahead(tmp_path_factory):
    """The same identities in two environments, whose clocks differ; outcomes that are dated ahead of them."""
    warehouse = ExperimentWarehouse(tmp_path_factory.mktemp("ahead"))
    people = [(f"{arm}-{i}", arm) for arm in ("control", "blue") for i in range(10)]
    for environment in ("fast", "slow"):
        warehouse.land(
            [
                evaluation(name, 1, arm, 50.0 if arm == "blue" else None, environment=environment)
                for name, arm in people
            ]
        )
    warehouse.land([evaluation("nobody", 24 * 9, environment="fast")])
    warehouse.give(
        "experiments",
        [
            experiment(key, environment=key, activation_event="open", ended_at="2026-02-01")
            for key in ("fast", "slow")
        ],
    )
    warehouse.give("metrics", [metric("purchases", event_name="buy", aggregation="count", before_days=2)])
    warehouse.give("experiment_metrics", [link(key, "purchases") for key in ("fast", "slow")])
    return warehouse


EARLY = [event(f"blue-{i}", "buy", 2 + 24 * i) for i in range(8)]
AHEAD = [
    event("blue-9", "buy", 24 * 365 * 73),
    event("blue-9", "buy", 24 * 12),
    event("blue-9", "open", 24 * 12),
    event("blue-9", "buy", 24 * 40),  # a day and more after the end
]


def build(warehouse: ExperimentWarehouse, events: list) -> dict:
    """What the marts say after a build with these outcomes."""
    warehouse.give("conversion_events", events)
    warehouse.run()
    activated = [
        row["experiment_key"] for row in warehouse.mart("fct_experiment_assignments") if row["activated_at"]
    ]
    return {"counted": bought(warehouse), "checks": checks(warehouse), "activated": activated}


def assert_as_a_full_refresh(warehouse: ExperimentWarehouse) -> None:
    grown = marts(warehouse)
    warehouse.run("run", "--select", NEEDED, "--full-refresh")
    assert grown == marts(warehouse)


def test_clock__outcomes_after_it__not_counted_and_told_until_it_has_passed_them(ahead):
    """And nothing that comes after them is lost: the last counted day is never ahead of the clock."""
    ahead.give("conversion_events", EARLY[:3] + AHEAD)
    ahead.run()
    found = build(ahead, EARLY + AHEAD)
    assert found["counted"]["fast", "purchases", "blue"] == 8
    assert found["counted"]["slow", "purchases", "blue"] == 0
    assert found["activated"] == []
    row = found["checks"]["fast", "outcomes_after_last_webhook"]
    assert (row["status"], row["value"]) == ("warn", 72)
    assert row["message"].startswith("1 outcome is dated after the last webhook")
    assert found["checks"]["fast", "data_freshness"]["value"] >= 0
    # The fast clock passes the one of the 13th, the slow one catches up with half of the others.
    ahead.land(
        [
            evaluation("nobody", 24 * 12, environment="fast"),
            evaluation("nobody", 24 * 4 + 1, environment="slow"),
        ]
    )
    found = build(ahead, EARLY + AHEAD)
    assert found["counted"]["fast", "purchases", "blue"] == 9
    assert found["counted"]["slow", "purchases", "blue"] == 4
    assert found["activated"] == ["fast"]
    assert ("fast", "outcomes_after_last_webhook") not in found["checks"]
    assert_as_a_full_refresh(ahead)


def test_clock__late_corrected_and_deleted_outcomes__as_a_full_refresh(ahead):
    within = [event("blue-8", "buy", 24 * 11.5), event("control-1", "buy", 24 * 12 - 1)]
    assert build(ahead, EARLY + AHEAD + within)["counted"]["fast", "purchases", "blue"] == 10
    corrected = [event("control-2", "buy", 24 * 11.6), event("control-1", "buy", 24 * 12 - 2)]
    assert build(ahead, EARLY + AHEAD + corrected)["counted"]["fast", "purchases", "control"] == 2
    assert_as_a_full_refresh(ahead)
    assert build(ahead, EARLY)["counted"]["fast", "purchases", "control"] == 0


def test_clock__goes_back_as_deliveries_are_erased__as_a_full_refresh(ahead):
    build(ahead, EARLY + AHEAD)
    with duckdb.connect(ahead.path) as connection:
        connection.execute(
            "delete from landing.webhooks where environment = 'fast' and received_at > '2026-01-06'"
        )
        for table in ("staging.stg_flagsmith__deliveries", "intermediate.int_deliveries"):
            connection.execute(
                f"delete from {table} where environment = 'fast' and received_at > '2026-01-06'"
            )
    assert build(ahead, EARLY + AHEAD)["counted"]["fast", "purchases", "blue"] == 0
    assert_as_a_full_refresh(ahead)
