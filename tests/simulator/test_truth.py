"""What the world intended is what its bodies say: read back by code that shares nothing with it."""

import json
from collections import Counter
from functools import cache

import pytest

from flagsmith_warehouse.simulator import truth
from flagsmith_warehouse.simulator.landing import rows
from flagsmith_warehouse.simulator.messages import Evaluation
from flagsmith_warehouse.simulator.parameters import Parameters
from flagsmith_warehouse.simulator.world import World
from tests.marts.reference import Landed, Warehouse

PARAMETERS = Parameters(
    deliveries=4_000, identities=120, environments=("production", "staging"), transient=0.1, volatile=0.1
)


@cache
def world() -> World:
    return World(PARAMETERS)


@cache
def evaluations() -> list[Evaluation]:
    return list(world().evaluations())


@cache
def marts() -> Warehouse:
    """The marts in plain Python, from the raw bodies alone."""
    return Warehouse([Landed(*row) for row in rows(evaluations())])


def test_truth__every_flag_of_every_body__says_what_was_intended():
    for evaluation in evaluations():
        body = json.loads(evaluation.body)
        assert body["identity"] == evaluation.state.identity
        for flag, said in zip(evaluation.state.flags, body["flags"], strict=True):
            assert (flag.feature.id, flag.feature.name) == (said["feature"]["id"], said["feature"]["name"])
            assert (flag.enabled, flag.value) == (said["enabled"], said["feature_state_value"])
            assert type(flag.value) is type(said["feature_state_value"])
            assert flag.has_percentage == ("percentage_allocation" in said)
            assert flag.percentage_allocation == said.get("percentage_allocation")
            overrides = (said["identity"] is not None, said["feature_segment"] is not None)
            reasons = {(True, False): "identity_override", (False, True): "segment_override"}
            assert flag.assignment_reason == reasons.get(overrides, "environment_default")


def text(value: object) -> str | None:
    return None if value is None else json.dumps(value) if isinstance(value, bool) else str(value)


def expected(intended: list[dict], columns: tuple[str, ...]) -> Counter:
    return comparable([{**row, "value": text(row.get("value"))} for row in intended], columns)


def comparable(mart_rows: list[dict], columns: tuple[str, ...]) -> Counter:
    """The rows as a bag, values as text: -0.0 and 0.0, True and 1 stay apart."""
    return Counter(tuple(repr(row[column]) for column in columns) for row in mart_rows)


EXPOSURE_COLUMNS = (
    *("environment", "identity", "feature_id", "variation", "enabled", "assignment_reason", "feature_name"),
    *("is_multivariate", "value", "value_type", "percentage_allocation"),
    *("exposure_count", "first_exposed_at", "last_exposed_at"),
)
ASSIGNMENT_COLUMNS = (
    *EXPOSURE_COLUMNS[:11],
    *("evaluation_count", "valid_from", "valid_to", "is_current", "change_reason"),
)
MEMBERSHIP_COLUMNS = (
    *("environment", "identity", "segment_id", "segment_name", "entered_at", "left_at", "left_reason"),
    "is_current",
)


TRAIT_COLUMNS = (
    *("environment", "identity", "trait_key", "value_type", "is_transient"),
    *("valid_from", "valid_to", "is_current"),
)
MARTS = [
    ("fct_identity_traits", truth.identity_traits, TRAIT_COLUMNS),
    ("fct_flag_exposures", truth.flag_exposures, EXPOSURE_COLUMNS),
    ("fct_flag_assignments", truth.flag_assignments, ASSIGNMENT_COLUMNS),
    ("fct_segment_memberships", truth.segment_memberships, MEMBERSHIP_COLUMNS),
]


@pytest.mark.parametrize(("mart", "intended", "columns"), MARTS)
def test_truth__marts_from_the_bodies__equal_what_was_intended(mart, intended, columns):
    assert expected(intended(evaluations()), columns) == comparable(getattr(marts(), mart)(), columns)


def test_truth__the_world__holds_every_kind_of_change():
    reasons = Counter(row["change_reason"] for row in truth.flag_assignments(evaluations()))
    assert set(reasons) == {
        *("first_seen", "identity_override_added", "identity_override_removed"),
        *(
            "segment_override_added",
            "segment_override_removed",
            "toggled",
            "weights_changed",
            "value_changed",
        ),
    }
    left = Counter(row["left_reason"] for row in truth.segment_memberships(evaluations()))
    assert left["stated"] > 20 and left[None] > 20


def test_truth__ambiguous_feature__keeps_the_arm_that_was_drawn():
    drawn = {
        flag.option
        for one in evaluations()
        for flag in one.state.flags
        if flag.feature.name == "search_ranking"
    }
    shown = {
        flag.variation
        for one in evaluations()
        for flag in one.state.flags
        if flag.feature.name == "search_ranking"
    }
    assert (drawn, shown) == ({None, 0, 1}, {"same", "other"})


def test_world__checkout_button__has_the_weights_from_before_and_after_the_change():
    shown = [
        (flag.variation, flag.percentage_allocation, one.received_at)
        for one in evaluations()
        for flag in one.state.flags
        if flag.feature.name == "checkout_button"
    ]
    changed_at = PARAMETERS.starts_at + 0.45 * PARAMETERS.span
    before = {(variation, weight) for variation, weight, at in shown if at < changed_at}
    after = {(variation, weight) for variation, weight, at in shown if at >= changed_at}
    assert before == {("variant_a", 30.0), ("variant_b", 30.0), ("variant_c", 10.0), ("control", None)}
    assert after == {("variant_a", 10.0), ("variant_b", 50.0), ("variant_c", 10.0), ("control", None)}


def test_world__rollout_experiment__splits_only_inside_the_segment_override():
    seen = {
        (flag.assignment_reason, flag.variation)
        for one in evaluations()
        for flag in one.state.flags
        if flag.feature.name == "new_onboarding"
    }
    assert seen == {
        ("environment_default", "control"),
        ("segment_override", "control"),
        ("segment_override", "guided"),
    }


def test_world__transient_country__can_contradict_the_segments():
    contradictions = 0
    for one in evaluations():
        flags = {flag.feature.name: flag for flag in one.state.flags}
        is_french = flags["french_banner"].assignment_reason == "segment_override"
        if is_french != one.state.members[1]:
            assert any(trait.is_transient and trait.key == "country" for trait in one.state.traits)
            contradictions += 1
    assert contradictions > 0
