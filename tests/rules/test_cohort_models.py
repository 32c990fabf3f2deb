"""The cohort marts against plain Python: the engine asked after every change, the rest counted by hand."""

import json
from collections import Counter, defaultdict
from datetime import datetime

import pytest
from flag_engine.segments.evaluator import is_context_in_segment

from tests.marts.conftest import CAPTURED, landed
from tests.marts.histories import History
from tests.marts.reference import Warehouse as Reference
from tests.marts.warehouse import Warehouse

PROJECT = json.loads((CAPTURED / "project.json").read_text())
SEGMENTS = [
    {"key": f"segment_{its['id']}", "name": its["name"], "rules": its["rules"], "mirrors_segment": its["id"]}
    for its in PROJECT["segments"]
]
KEYS = {"production": {"key": PROJECT["environment_key"]}}


def rule(kind, *conditions, **below):
    return [
        {
            "type": kind,
            "conditions": [
                dict(zip(("property", "operator", "value"), one, strict=True)) for one in conditions
            ],
            **below,
        }
    ]


COHORTS = [
    {"key": "pro", "rules": rule("ALL", ("plan", "IN", "x,1,True"))},
    {"key": "old", "rules": rule("ANY", ("age", "GREATER_THAN", "0"), ("é", "EQUAL", "1"))},
    {"key": "no plan", "rules": rule("ALL", ("plan", "IS_NOT_SET", None))},
    {"key": "neither", "rules": rule("NONE", ("plan", "IS_SET", None), ("age", "IS_SET", None))},
    {
        "key": "here",
        "environment": "staging",
        "rules": rule("ANY", ("plan", "IS_SET", ""), ("", "IS_NOT_SET", "")),
    },
    {"key": "everybody", "rules": rule("ALL")},
    {"key": "nobody", "rules": rule("ANY", ("plan", "EQUAL", "no such plan"))},
    {
        "key": "half of those with a plan",
        "mirrors_segment": 7,
        "rules": rule("ALL", ("", "PERCENTAGE_SPLIT", "50"), ("plan", "IS_SET", None)),
    },
    {
        "key": "two splits",
        "mirrors_segment": 8,
        "rules": rule("ANY", ("", "PERCENTAGE_SPLIT", "70"), ("plan", "IS_SET", None))
        + rule("NONE", ("", "PERCENTAGE_SPLIT", "20")),
    },
    {"key": "with a key", "mirrors_segment": 9, "rules": rule("ALL", ("", "PERCENTAGE_SPLIT", "100"))},
]
COHORT_MARTS = "+marts.trait_cohorts"
# The other environment's key is not declared: no split holds there.
ONE_KEY = {"production": {"key": "k"}}


def declared(cohorts, environments=None):
    return ("--vars", json.dumps({"cohorts": cohorts, "flagsmith_environments": environments or {}}))


def by_engine(reference: Reference, cohorts: list[dict]) -> list[tuple]:
    """Memberships in plain Python: the engine asked at each moment at which one of the traits changed."""
    spells = defaultdict(list)
    for spell in reference.fct_identity_traits():
        if not spell["is_transient"]:
            spells[spell["environment"], spell["identity"]].append(spell)
    found = []
    for person in reference.dim_identities():
        who = (person["environment"], person["identity"])
        key = f"{ONE_KEY[who[0]]['key']}_{who[1]}" if who[0] in ONE_KEY else None
        moments = {person["first_seen_at"]}
        for spell in spells[who]:
            moments |= {spell["valid_from"], spell["valid_to"]} - {None}
        for cohort in cohorts:
            entered = None
            for at in sorted(moments):
                held = {
                    s["trait_key"]: value(s)
                    for s in spells[who]
                    if s["valid_from"] <= at < (s["valid_to"] or datetime.max)
                }
                context = {
                    "environment": {"key": "k", "name": who[0]},
                    "identity": {"identifier": who[1], "traits": held, "key": key},
                }
                segment = {"key": str(cohort.get("mirrors_segment")), "name": "", "rules": cohort["rules"]}
                is_member = is_context_in_segment(context, segment)
                is_member &= cohort.get("environment") in (None, who[0])
                if is_member and entered is None:
                    entered = at
                if not is_member and entered is not None:
                    found.append((who[0], cohort["key"], who[1], entered, at))
                    entered = None
            if entered is not None:
                found.append((who[0], cohort["key"], who[1], entered, None))
    return sorted(found, key=str)


def value(spell: dict):
    text = spell["value_text"]
    kinds = {
        "integer": int,
        "float": float,
        "boolean": lambda word: word == "true",
        "string": str,
        "null": lambda _: None,
    }
    return kinds[spell["value_type"]](text)


def memberships(warehouse: Warehouse) -> list[tuple]:
    columns = ("environment", "cohort_key", "identity", "entered_at", "left_at")
    rows = warehouse.mart("fct_cohort_memberships")
    assert all(row["is_current"] == (row["left_at"] is None) for row in rows)
    return sorted((tuple(row[column] for column in columns) for row in rows), key=str)


def test_memberships__built_in_steps_and_rules_changed__equal_the_engine_asked_after_every_change(warehouse):
    """Given deliveries out of order in two builds; then each is right; and so is one with other rules."""
    rows = History(3).deliveries(450)
    warehouse.dbt("seed")
    for begin, end in ((0, 250), (250, 450)):
        warehouse.land(rows[begin:end])
        warehouse.dbt("run", "--select", "+dim_cohorts", *declared(COHORTS, ONE_KEY))
        expected = by_engine(Reference(rows[:end]), COHORTS)
        assert memberships(warehouse) == expected
    assert "half of those with a plan" in {name for _, name, _, _, left in expected if left is not None}
    assert {place for place, name, *_ in expected if name == "two splits"} == {"production", "staging"}

    changed = [*COHORTS[1:], {"key": "pro", "rules": rule("ALL", ("plan", "NOT_EQUAL", "x"))}]
    warehouse.dbt("run", "--select", "+dim_cohorts", *declared(changed, ONE_KEY))
    assert memberships(warehouse) == by_engine(Reference(rows), changed)

    warehouse.dbt("run", "--select", "+dim_cohorts", *declared([]))
    assert memberships(warehouse) == []
    assert warehouse.mart("dim_cohorts") == []


def test_drift__ten_captured_segments__agree_with_every_stated_member(warehouse, captured):
    """Flagsmith's own ten segments, their rules pasted: agreement with each `member` of every request."""
    rows = [row for row in captured if len(json.loads(row.body).get("segments") or []) == len(SEGMENTS)]
    stated = Counter(segment["id"] for row in rows for segment in json.loads(row.body)["segments"])
    assert sum(stated.values()) > 1000
    warehouse.land(rows)
    chosen = (
        "--select",
        COHORT_MARTS,
        "--indirect-selection",
        "cautious",
        "--exclude-resource-type",
        "unit_test",
    )
    warehouse.dbt("build", *chosen, *declared(SEGMENTS, KEYS))
    drift = warehouse.mart("fct_segment_rule_drift")
    assert {row["segment_id"]: row["agreements"] for row in drift} == stated
    assert {row["disagreements"] for row in drift} == {0}
    assert all(row["members"] > 0 for row in warehouse.mart("dim_cohorts"))


def test_drift__other_rules_than_flagsmiths__says_how_often_and_who(warehouse):
    """A cohort that mirrors a segment by name with another rule: counted both ways, with an example each, in its environment alone."""
    warehouse.land(
        [
            delivery("ann", 3, {"age": 31}, segments=[(7, "grown up", True)]),
            delivery("bob", 1, {"age": 31}, segments=[(7, "grown up", False)]),
            delivery("bob", 2, {"age": 17}, segments=[(7, "grown up", True), (8, "other", True)]),
            delivery("cat", 2, {"age": 17}, segments=[(7, "grown up", False)]),
            delivery("dan", 2, {"age": 40}, segments=[(8, "other", True)]),
        ]
    )
    cohort = {
        "key": "adults",
        "mirrors_segment": "grown up",
        "rules": rule("ALL", ("age", "GREATER_THAN", "30")),
    }
    elsewhere = cohort | {"key": "elsewhere", "environment": "staging"}
    warehouse.dbt("run", "--select", "+fct_segment_rule_drift", *declared([cohort, elsewhere]))
    (row,) = warehouse.mart("fct_segment_rule_drift")
    assert row == {
        "environment": "production",
        "cohort_key": "adults",
        "segment_id": 7,
        "segment_name": "grown up",
        "deliveries": 4,
        "agreements": 2,
        "disagreements": 2,
        "stated_only": 1,
        "by_rule_only": 1,
        "agreement": 0.5,
        "disagreeing_identities": 1,
        "example_stated_only": "bob",
        "example_by_rule_only": "bob",
        "example_stated_only_at": day(2),
        "example_by_rule_only_at": day(1),
        "first_disagreement_at": day(1),
        "last_disagreement_at": day(2),
    }


@pytest.fixture(scope="module")
def six_weeks(tmp_path_factory):
    """A few people and the cohort of the plan pro."""
    warehouse = Warehouse(tmp_path_factory.mktemp("six_weeks"))
    warehouse.land(
        [
            # ann: free, then pro from day 3 to day 10, back on day 40. bob: pro from day 9 on, but for a day. cat: never.
            delivery("ann", 1, {"plan": "free"}, flags={1: "red"}),
            delivery("ann", 3, {"plan": "pro"}, flags={1: "red"}),
            delivery("ann", 4, {"plan": "pro"}, flags={1: "blue"}),
            delivery("ann", 10, {"plan": "free"}, flags={1: "green"}),
            delivery("ann", 40, {"plan": "free"}, flags={1: "green"}),
            delivery("bob", 9, {"plan": "pro"}, flags={1: "blue"}),
            delivery("bob", 11, {"plan": "free"}),
            delivery("bob", 12, {"plan": "pro"}),
            delivery("cat", 12, {"plan": "free"}, flags={1: "red"}),
            # For one evaluation only, and not stored: Flagsmith's segments do not see it, nor do cohorts.
            delivery("cat", 13, {"plan": "pro"}, flags={1: "red"}, transient=True),
        ]
    )
    pro = {"key": "pro", "name": "Pro", "rules": rule("ALL", ("plan", "EQUAL", "pro"))}
    warehouse.dbt("run", "--select", COHORT_MARTS, *declared([pro]))
    return warehouse


def test_marts_of_cohorts__a_few_people_over_six_weeks__count_as_by_hand(six_weeks):
    """Sizes by day, and exposures at the time of membership."""
    sizes = {row["day"].day: row for row in six_weeks.mart("fct_cohort_sizes_daily") if row["day"].month == 1}
    assert {day: sizes[day]["members"] for day in (3, 8, 9, 10, 31)} == {3: 1, 8: 1, 9: 2, 10: 1, 31: 1}
    assert (sizes[9]["entered"], sizes[10]["left"], sizes[8]["entered"], sizes[8]["left"]) == (1, 1, 0, 0)
    assert len(six_weeks.mart("fct_cohort_sizes_daily")) == 29 + 9

    exposures = {row["variation"]: row for row in six_weeks.mart("fct_cohort_flag_exposures")}
    assert exposures.keys() == {"red", "blue"}
    assert [exposures[colour]["identities"] for colour in ("red", "blue")] == [1, 2]
    assert [exposures[colour]["share"] for colour in ("red", "blue")] == [0.5, 1.0]
    assert (exposures["blue"]["first_exposed_at"], exposures["blue"]["last_exposed_at"]) == (day(4), day(9))

    (cohort,) = six_weeks.mart("dim_cohorts")
    assert (cohort["members"], cohort["rule_text"], cohort["name"]) == (1, 'plan EQUAL "pro"', "Pro")


def test_retention__a_few_people_over_six_weeks__by_week_and_month(six_weeks):
    triangle = {
        (row["counted_from"], str(row["start_period"]), row["period_number"]): (
            row["identities"],
            row["active_identities"],
        )
        for row in six_weeks.mart("fct_cohort_retention")
        if row["period"] == "week"
    }
    # 2026-01-01 is a Thursday: ann is first seen and enters in the week of 29 December, bob in the next.
    weeks = range(7)
    assert [triangle["first_seen", "2025-12-29", n] for n in weeks] == [(1, n in (0, 1, 6)) for n in weeks]
    assert [triangle["entry", "2025-12-29", n] for n in weeks] == [(1, n in (0, 1, 6)) for n in weeks]
    assert [triangle["entry", "2026-01-05", n] for n in range(6)] == [(1, n in (0, 1)) for n in range(6)]
    assert len(triangle) == 2 * (7 + 6)
    # The last delivery came when the week of 2 February was just over.
    complete = [
        row["period_number"]
        for row in six_weeks.mart("fct_cohort_retention")
        if (row["counted_from"], str(row["start_period"]), row["is_complete"])
        == ("entry", "2026-01-05", True)
    ]
    assert sorted(complete) == [0, 1, 2, 3, 4]
    months = [
        row
        for row in six_weeks.mart("fct_cohort_retention")
        if row["period"] == "month" and row["counted_from"] == "entry"
    ]
    assert sorted((row["period_number"], row["identities"], row["retention"]) for row in months) == [
        (0, 2, 1.0),
        (1, 2, 0.5),
    ]


def day(number: int) -> datetime:
    return datetime.fromordinal(datetime(2025, 12, 31).toordinal() + number)


def delivery(identity, number, traits, flags=None, segments=None, transient=False):
    """A landed evaluation on the given day of January 2026; flags: feature id -> value."""
    body = {
        "identity": identity,
        "traits": [{"trait_key": k, "trait_value": v, "transient": transient} for k, v in traits.items()],
    }
    if flags:
        body["flags"] = [
            {
                "enabled": True,
                "feature": {"id": feature, "name": "colour", "type": "STANDARD"},
                "feature_state_value": colour,
                "feature_segment": None,
                "identity": None,
            }
            for feature, colour in flags.items()
        ]
    if segments:
        body["segments"] = [
            {"id": number, "name": name, "member": member} for number, name, member in segments
        ]
    return landed(json.dumps(body), day(number), f"{identity}-{number}")
