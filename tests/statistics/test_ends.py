"""An experiment ends by itself where its flag is off for everybody or one variation has all the weight; before that it pauses."""

import hashlib
import json

import pytest

from tests.marts.reference import Landed

from .experiments import ExperimentWarehouse, at, clock, evaluation, event, experiment, link, metric

SECOND = 1 / 3600


def split(environment: str, name: str, hours: float, **flag) -> list:
    """Twenty identities, half of them blue, within two seconds."""
    return [
        evaluation(
            f"{name}-{i}",
            hours + i * SECOND / 10,
            *(("blue", 50.0) if i % 2 else ("control", None)),
            environment=environment,
            **flag,
        )
        for i in range(20)
    ]


def people(
    environment: str, name: str, hours: float, count: int, shares=(("control", None), ("blue", 50.0)), **flag
) -> list:
    """So many identities, each with the next of `shares`, within seconds."""
    return [
        evaluation(
            f"{name}-{i}", hours + i * SECOND / 10, *shares[i % len(shares)], environment=environment, **flag
        )
        for i in range(count)
    ]


def all_blue(environment: str, name: str, hours: float, **flag) -> list:
    return [
        evaluation(f"{name}-{i}", hours + i * SECOND / 10, "blue", 100.0, environment=environment, **flag)
        for i in range(20)
    ]


def change(environment: str, hours: float, by: str, **new_state) -> Landed:
    """A webhook about a change of the flag."""
    said = {"new_state": {"feature": {"id": 1, "name": "checkout"}} | new_state, "changed_by": by}
    body = json.dumps({"event_type": "FLAG_UPDATED", "data": said})
    digest = hashlib.sha256(f"{environment} {hours} {body}".encode()).hexdigest()
    payload = hashlib.sha256(body.encode()).hexdigest()
    return Landed(digest[:32], environment, at(hours), at(hours), payload, True, "utf-8", body)


WEBHOOKS = [
    # Switched off, learnt of by one worker after another; people come back to a flag that is off.
    *split("off", "early", 1),
    change("off", 9.99, "ada@example.com", enabled=True),
    change("off", 10, "bob@example.com", enabled=False),
    *split("off", "early", 10, enabled=False),
    *split("off", "stale", 10 + 20 * SECOND),
    *split("off", "early", 10 + 30 * SECOND, enabled=False),
    *split("off", "early", 30, enabled=False),
    # The winner is given to everybody; the others come back, and so do new ones.
    *split("winner", "early", 1),
    change("winner", 9, "cem@example.com", enabled=True),
    *all_blue("winner", "early", 10),
    *all_blue("winner", "new", 11),
    # The split was seen after the only change that is known, so that change did not stop it.
    *split("lost change", "early", 1),
    change("lost change", 2, "ann@example.com", enabled=True),
    *split("lost change", "later", 6),
    *all_blue("lost change", "early", 10),
    # Switched off before the windows of those who came late have passed.
    *split("cut", "early", 1),
    *split("cut", "late", 8),
    *split("cut", "late", 10, enabled=False),
    # The override of a rollout is deleted: those who come back get the environment's default, and so do new ones.
    *people("override removed", "early", 1, 60, reason="segment_override"),
    change("override removed", 9.99, "dan@example.com", enabled=True, feature_segment={"segment": {"id": 7}}),
    *people("override removed", "early", 10, 60, shares=(("on", None),)),
    *people("override removed", "new", 11, 60, shares=(("on", None),)),
    # Nobody gets the default any more, because an override holds for everybody.
    *people("override added", "early", 1, 60),
    *people("override added", "early", 10, 60, reason="segment_override", shares=(("blue", 100.0),)),
    # The reason comes back: a pause.
    *people("override back", "early", 1, 60, reason="segment_override"),
    *people("override back", "early", 10, 60, shares=(("on", None),)),
    *people("override back", "second", 12, 60, reason="segment_override"),
    # Nineteen have left the segment, some of them several times, and the next one is in it.
    *people("leavers", "early", 1, 60, reason="segment_override"),
    *people("leavers", "early", 10, 19, shares=(("control", None),)),
    *people("leavers", "early", 11, 19),
    *people("leavers", "early", 12, 60, reason="segment_override"),
    # All weight to control: those who had blue come back to control, and so do new ones.
    *people("all control", "early", 1, 60),
    change("all control", 9.99, "eve@example.com", enabled=True),
    *people("all control", "early", 10, 60, shares=(("control", None),)),
    *people("all control", "new", 11, 60, shares=(("control", None),)),
    # Control alone, and then the split again, with other weights.
    *people("control for a while", "early", 1, 60),
    *people("control for a while", "early", 10, 60, shares=(("control", None),)),
    *people("control for a while", "during", 11, 60, shares=(("control", None),)),
    *people("control for a while", "second", 12, 60, shares=(("blue", 20.0), *(("control", None),) * 4)),
    # Blue falls from 50 to 10 %: nineteen lose it before the next one is given it.
    *people("less blue", "early", 1, 60),
    *people("less blue", "early", 10, 38, shares=(("control", None),)),
    *people("less blue", "second", 12, 60, shares=(("blue", 10.0), *(("control", None),) * 9)),
    # Sixty new ones in control, and nobody of blue comes back: perhaps its evaluations are lost.
    *people("lost blue", "early", 1, 60),
    *people("lost blue", "new", 10, 60, shares=(("control", None),)),
    # Two pauses, one of either kind.
    *split("paused", "early", 1),
    *split("paused", "early", 10, enabled=False),
    *split("paused", "second", 12),
    *all_blue("paused", "early", 20),
    *all_blue("paused", "during", 21),
    *split("paused", "third", 22),
    # Nothing has begun that could stop; and overrides of single identities stop nothing.
    *split("off from the start", "early", 1, enabled=False),
    *split("overrides", "early", 1, reason="identity_override"),
    *all_blue("overrides", "late", 10, reason="identity_override"),
    *split("overrides", "later", 11, reason="identity_override", enabled=False),
    # Off for everybody outside a rollout is not off in it.
    *split("rollout", "in", 1, reason="segment_override"),
    *split("rollout", "out", 10, enabled=False),
    # Off is a variation here.
    *split("off as an arm", "early", 1),
    *split("off as an arm", "late", 10, enabled=False),
]
ENVIRONMENTS = sorted({row.environment for row in WEBHOOKS})
REASONS = {"overrides": "identity_override"} | dict.fromkeys(
    ("rollout", "override removed", "override back", "leavers"), "segment_override"
)
WEIGHTS = {"off as an arm": "control=1;blue=1;off=1"}


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    warehouse = ExperimentWarehouse(tmp_path_factory.mktemp("ends"))
    warehouse.land(WEBHOOKS + [clock(48, environment=name) for name in ENVIRONMENTS])
    experiments = [
        experiment(
            name,
            environment=name,
            assignment_reason=REASONS.get(name, "environment_default"),
            expected_weights=WEIGHTS.get(name, "auto"),
        )
        for name in ENVIRONMENTS
    ] + [
        experiment("declared before", environment="off", ended_at="2026-01-01 08:00", name="Checkout"),
        experiment("declared after", environment="off", ended_at="2026-01-02", description="Greener"),
        experiment("cut by declaration", environment="cut", ended_at="2026-01-01 10:00"),
        experiment("still to end", environment="off from the start", ended_at="2026-03-01"),
    ]
    warehouse.give("experiments", experiments)
    warehouse.give(
        "metrics",
        [
            metric("bought", event_name="buy", aggregation="count"),
            metric("bought soon", event_name="buy", aggregation="count", conversion_window_hours=5),
            metric("bought today", event_name="buy", aggregation="count", conversion_window_hours=24),
        ],
    )
    warehouse.give(
        "experiment_metrics",
        [link(one["experiment_key"], "bought") for one in experiments]
        + [
            link(key, name, "secondary")
            for key in ("cut", "cut by declaration", "paused")
            for name in ("bought soon", "bought today")
        ],
    )
    warehouse.give(
        "conversion_events",
        [
            event(f"early-{i}", "buy", hours, environment=name)
            for name in ENVIRONMENTS
            for i in range(20)
            for hours in (5, 11, 40)
        ],
    )
    warehouse.run()
    return warehouse


@pytest.fixture(scope="module")
def ends(warehouse):
    return {row["experiment_key"]: row for row in warehouse.mart("dim_experiments")}


@pytest.mark.parametrize(
    ("experiment_key", "status", "hours", "end_reason", "ended_by"),
    [
        ("off", "ended", 10, "switched_off", "bob@example.com"),
        ("winner", "ended", 10, "one_variation", "cem@example.com"),
        ("override removed", "ended", 10, "reason_changed", "dan@example.com"),
        ("override added", "ended", 10, "reason_changed", None),
        ("override back", "running", None, None, None),
        ("leavers", "running", None, None, None),
        ("all control", "ended", 10 + SECOND / 10, "one_variation", "eve@example.com"),
        ("control for a while", "running", None, None, None),
        ("less blue", "running", None, None, None),
        ("lost blue", "running", None, None, None),
        ("cut", "ended", 10, "switched_off", None),
        ("cut by declaration", "ended", 10, "declared", None),
        ("lost change", "ended", 10, "one_variation", None),
        ("declared before", "ended", 8, "declared", None),
        ("declared after", "ended", 10, "switched_off", "bob@example.com"),
        ("paused", "running", None, None, None),
        ("off from the start", "running", None, None, None),
        ("overrides", "running", None, None, None),
        ("rollout", "running", None, None, None),
        ("off as an arm", "running", None, None, None),
        ("still to end", "running", 59 * 24, None, None),
    ],
)
def test_end__by_itself_or_declared__when_why_and_by_whom(
    ends, experiment_key, status, hours, end_reason, ended_by
):
    row = ends[experiment_key]
    assert (row["status"], row["end_reason"], row["ended_by"]) == (status, end_reason, ended_by)
    assert row["ended_at"] == (None if hours is None else at(hours))


@pytest.mark.parametrize(
    "experiment_key", ["off", "winner", "override removed", "override added", "all control"]
)
def test_end__from_then_on__no_assignment_no_contradiction_no_outcome(warehouse, experiment_key):
    assigned = warehouse.query(
        "select * from marts.fct_experiment_assignments where experiment_key = ?", experiment_key
    )
    assert {row["identity"].split("-")[0] for row in assigned} == {"early"}
    assert not any(row["is_quarantined"] for row in assigned)
    counted = warehouse.query(
        "select outcome_sum from marts.fct_experiment_results"
        " where experiment_key = ? and population = 'assigned'",
        experiment_key,
    )
    assert [row["outcome_sum"] for row in counted] == [10, 10]


@pytest.mark.parametrize(
    ("experiment_key", "names", "quarantined"),
    [
        ("override back", {"early", "second"}, 0),
        ("control for a while", {"early", "second"}, 0),
        ("less blue", {"early", "second"}, 19),
        ("lost blue", {"early", "new"}, 0),
        ("leavers", {"early"}, 9),
    ],
)
def test_withdrawn__from_twenty_who_come_back_and_given_again__a_pause(
    warehouse, experiment_key, names, quarantined
):
    assigned = warehouse.query(
        "select * from marts.fct_experiment_assignments where experiment_key = ?", experiment_key
    )
    assert {row["identity"].split("-")[0] for row in assigned} == names
    assert sum(row["is_quarantined"] for row in assigned) == quarantined


def test_withdrawn__only_where_twenty_come_back_without_it(warehouse):
    found = warehouse.query("select experiment_key, stop_reason from intermediate.int_experiment_withdrawals")
    assert sorted((row["experiment_key"], row["stop_reason"]) for row in found) == [
        ("all control", "one_variation"),
        ("control for a while", "one_variation"),
        ("override added", "reason_changed"),
        ("override back", "reason_changed"),
        ("override removed", "reason_changed"),
    ]


@pytest.mark.parametrize("experiment_key", ["cut", "cut by declaration"])
def test_end__before_a_window_has_passed__the_identity_does_not_count(warehouse, experiment_key):
    """Given 20 people whose window of 5 hours the end cuts and 20 whose it does not; then the 20 count, and in a day nobody."""
    rows = {
        row["metric_key"]: row
        for row in warehouse.mart("fct_experiment_results")
        if (row["experiment_key"], row["population"], row["variation"])
        == (experiment_key, "assigned", "blue")
    }
    counts = {
        key: (row["identities"], row["identities_matured"], row["outcome_sum"], row["status"])
        for key, row in rows.items()
    }
    assert counts == {
        "bought": (20, 20, 10, "ok"),
        "bought soon": (20, 10, 10, "zero_variance"),
        "bought today": (20, 0, 0, "none_matured"),
    }
    assert rows["bought today"]["verdict"] == "collecting_data"
    assert "nobody's window had passed" in rows["bought today"]["verdict_reason"]
    (found,) = [
        row
        for row in warehouse.mart("fct_experiment_health")
        if (row["experiment_key"], row["check_name"]) == (experiment_key, "windows_passed")
    ]
    assert (found["status"], found["value"]) == ("warn", 1)
    assert "nobody counts in bought today" in found["message"]


def test_pause__a_window_that_it_touches__counts_once_it_has_passed(warehouse):
    rows = {
        row["metric_key"]: (row["identities"], row["identities_matured"], row["outcome_sum"])
        for row in warehouse.mart("fct_experiment_results")
        if (row["experiment_key"], row["population"], row["variation"]) == ("paused", "assigned", "blue")
    }
    assert rows["bought soon"] == (30, 30, 10) and rows["bought today"] == (30, 30, 20)
    assert "windows_passed" not in {
        row["check_name"]
        for row in warehouse.mart("fct_experiment_health")
        if row["experiment_key"] == "paused"
    }


def test_pause__in_it__nobody_is_assigned_and_nothing_contradicts(warehouse):
    assigned = warehouse.query(
        "select * from marts.fct_experiment_assignments where experiment_key = 'paused'"
    )
    assert {row["identity"].split("-")[0] for row in assigned} == {"early", "second", "third"}
    assert not any(row["is_quarantined"] for row in assigned)
    assert {row["epoch"] for row in assigned} == {1}


def test_titles__declared_or_not__are_shown(ends):
    assert ends["declared before"]["name"] == "Checkout"
    assert ends["declared after"]["description"] == "Greener"
    assert ends["off"]["name"] is None
