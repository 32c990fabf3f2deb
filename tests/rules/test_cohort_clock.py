"""Cohort marts end at the environment's clock, and a delivery that lost a tie is no state."""

import json
from datetime import datetime, timedelta

from tests.marts.conftest import landed
from tests.marts.test_cases import evaluation, flag

from .test_cohort_models import declared, rule

MONDAY = datetime(2026, 5, 4, 12)
PAYING = [{"key": "paying", "mirrors_segment": 5, "rules": rule("ALL", ("plan", "EQUAL", "pro"))}]


def body(plan: str, member: bool, name: str = "f", segment_name: str = "s") -> str:
    segment = {"id": 5, "name": segment_name, "member": member}
    return json.dumps(
        evaluation([flag(1, name=name)], [segment], [{"trait_key": "plan", "trait_value": plan}])
    )


def test_cohorts__ties_and_a_silent_end__follow_the_greatest_delivery_and_the_environments_clock(warehouse):
    """Given two deliveries in one microsecond and, nine days later, one that is no evaluation; then the loser of the tie
    disagrees with nothing, and retention goes on to the last delivery's week, which is not over."""
    warehouse.land(
        [
            landed(body("pro", True, "winner", "winner"), MONDAY, "b"),
            landed(body("free", True, "loser", "loser"), MONDAY, "a"),
            landed("not json", MONDAY + timedelta(days=9), "c"),
        ]
    )
    models = (
        "+fct_cohort_retention",
        "+fct_segment_rule_drift",
        "+fct_cohort_flag_exposures",
        "+fct_cohort_sizes_daily",
    )
    warehouse.dbt("run", "--select", *models, *declared(PAYING))

    drift = warehouse.mart("fct_segment_rule_drift")
    assert [(row["segment_name"], row["deliveries"], row["disagreements"]) for row in drift] == [
        ("winner", 1, 0)
    ]
    assert [row["feature_name"] for row in warehouse.mart("fct_cohort_flag_exposures")] == ["winner"]
    weeks = warehouse.query(
        "select period_number, active_identities, is_complete from marts.fct_cohort_retention"
        " where counted_from = 'entry' and period = 'week' order by period_number"
    )
    assert [tuple(row.values()) for row in weeks] == [(0, 1, True), (1, 0, False)]
    last_day = warehouse.query("select max(day) as day from marts.fct_cohort_sizes_daily")
    assert last_day == [{"day": (MONDAY + timedelta(days=9)).date()}]
