"""The rows of `dim_flags` and `fct_explained_assignments` for histories that they once got wrong."""

import json
from datetime import datetime, timedelta

import pytest

from .conftest import landed
from .test_cases import MV, evaluation, flag
from .warehouse import Warehouse

NOON = datetime(2026, 5, 1, 12)
DAY = timedelta(days=1)
SEGMENT = {"id": 5, "name": "paying", "member": True}


def control(enabled: bool = True, value: str = "c", **further) -> dict:
    return flag(1, value, enabled=enabled, percentage_allocation=None, **MV, **further)


def option(value: str = "a", initial_value: str | None = None) -> dict:
    drawn = flag(1, value, percentage_allocation=50.0, **MV)
    drawn["feature"]["initial_value"] = initial_value
    return drawn


def change(value: str, identity: str | None = None, segment: int | None = None) -> dict:
    state = {"enabled": True, "feature": {"id": 1, "name": "f"}, "feature_state_value": value}
    state["identity_identifier"] = identity
    state["feature_segment"] = segment and {"segment": {"id": segment, "name": "s"}, "priority": 0}
    return {
        "event_type": "FLAG_UPDATED",
        "data": {"changed_by": f"{identity or segment}", "new_state": state},
    }


HOURLY = {
    "off and on again": [evaluation([control()]), evaluation([control(False)]), evaluation([option()])],
    "options added": [evaluation([flag(1, "c")]), evaluation([flag(1, "a", identity=7, percentage_allocation=50.0, **MV)])],
    "options deleted": [evaluation([control()]), evaluation([option()]), evaluation([flag(1, "x", identity=7)])],
    "option is the initial value": [evaluation([option("x", "x")])],
    "same option, other initial value": [evaluation([option("x", "y")])],
    "falsy values": [evaluation([flag(1, value, **MV)]) for value in ("", 0, False)],
    "texts of falsy values": [evaluation([flag(1, value, **MV)]) for value in ("0", "false")],
    "deleted": [evaluation([flag(1), flag(2)]), evaluation([flag(2)])],
    "hidden from some calls": [
        evaluation(flags)
        for flags in ([flag(1), flag(2)], [flag(2)], [flag(1), flag(2)], [flag(2)], [flag(2)])
    ],
    "deleted where calls hide flags": [
        evaluation(flags)
        for flags in ([flag(1), flag(2), flag(3)], [flag(3)], [flag(1), flag(2), flag(3)], [flag(2), flag(3)])
    ],
    "server-side for some": [
        evaluation([flag(1), flag(2)]),
        evaluation([flag(2)]),
        evaluation([flag(1), flag(2)], identity="bob"),
        evaluation([flag(2)], identity="eve"),
    ],
    "server-side for some, and they come back": [
        evaluation([flag(1), flag(2)]),
        evaluation([flag(2)]),
        evaluation([flag(1), flag(2)], identity="bob"),
        evaluation([flag(2)]),
    ],
    "the only flag, deleted": [evaluation([flag(1)]), evaluation([])],
    "somebody else's": [evaluation([flag(1)]), evaluation([flag(1)], identity="bob"), evaluation([flag(2)], identity="eve")],
    "explained by nobody": [
        evaluation([flag(1, "a")], [{**SEGMENT, "member": False}]),
        change("b", identity="bob"),
        change("b", segment=5),
        evaluation([flag(1, "b")], [{**SEGMENT, "member": False}]),
    ],
    "explained by the environment": [
        evaluation([flag(1, "a")]),
        change("b"),
        change("b", identity="bob"),
        evaluation([flag(1, "b")]),
    ],
    "explained by the own override": [evaluation([flag(1, "a")]), change("b", identity="ann"), evaluation([flag(1, "b")])],
    "explained by the own segment": [
        evaluation([flag(1, "a")], [SEGMENT]),
        change("b", segment=5),
        change("b", segment=6),
        evaluation([flag(1, "b")], [SEGMENT]),
    ],
}  # fmt: skip
# Days from the first delivery on which the flag's value is seen.
STALE = {
    "seen before the window, one variation in it": ([(0, "a"), (40, "a")], True),
    "young": ([(0, "a"), (20, "a")], False),
    "two variations in the window": ([(0, "a"), (30, "b"), (40, "a")], False),
    "another variation before the window": ([(0, "b"), (30, "a"), (40, "a")], True),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Warehouse:
    """The marts of flags, built once. Each history has its own environment."""
    rows = []

    def land(environment: str, at: datetime, body: dict) -> None:
        rows.append(landed(json.dumps(body), at, f"{len(rows):06d}", environment))

    for name, bodies in HOURLY.items():
        for number, body in enumerate(bodies):
            land(name, NOON + timedelta(hours=number), body)
    for name, (sightings, _) in STALE.items():
        for day, value in sightings:
            land(name, NOON + day * DAY, evaluation([flag(1, value)]))
    land("not evaluated in the window", NOON, evaluation([flag(1, "a")]))
    land("not evaluated in the window", NOON + 40 * DAY, {"event_type": "AUDIT_LOG_CREATED", "data": {}})
    # One of Flagsmith's workers learns of it after the other.
    for seconds, flags in ((-600, [1, 2]), (0, [2]), (20, [1, 2]), (40, [2])):
        body = evaluation([flag(feature_id) for feature_id in flags])
        land("deleted, and learnt of late", NOON + timedelta(seconds=seconds), body)
    warehouse = Warehouse(tmp_path_factory.mktemp("flags"))
    warehouse.land(rows)
    warehouse.run("--select", "+dim_flags", "+fct_explained_assignments")
    return warehouse


def dim_flag(built: Warehouse, environment: str) -> dict:
    query = "select * from marts.dim_flags where environment = ? and feature_id = 1"
    return built.query(query, environment)[0]


@pytest.mark.parametrize("name", ["off and on again", "options added", "options deleted"])
def test_current_default__another_state_or_type__is_the_last_default(built, name):
    """Without options the value is what control has with them."""
    assert dim_flag(built, name)["current_default"] == "c"


def test_ambiguous__an_initial_value_of_another_environment__says_nothing(built):
    assert dim_flag(built, "option is the initial value")["ambiguous_variations"] == ["x"]
    assert dim_flag(built, "same option, other initial value")["ambiguous_variations"] == []


def test_ambiguous__a_text_that_reads_like_a_falsy_value__is_not(built):
    """Old servers send no percentage at all; Python takes the text "0" for true."""
    assert sorted(dim_flag(built, "falsy values")["ambiguous_variations"]) == ["", "0", "false"]
    assert dim_flag(built, "texts of falsy values")["ambiguous_variations"] == []


@pytest.mark.parametrize("name", STALE)
def test_is_stale__needs_a_sighting_before_the_window_and_one_variation_in_it(built, name):
    assert dim_flag(built, name)["is_stale"] is STALE[name][1]


def test_is_stale__nobody_evaluated_in_the_window__is_not(built):
    assert dim_flag(built, "not evaluated in the window")["is_stale"] is False


@pytest.mark.parametrize(
    ("name", "is_gone"),
    [
        ("deleted", True),
        ("hidden from some calls", False),
        ("deleted where calls hide flags", True),
        ("deleted, and learnt of late", True),
        ("the only flag, deleted", True),
        ("server-side for some", False),
        ("server-side for some, and they come back", False),
        ("somebody else's", False),
    ],
)
def test_is_gone__only_where_a_call_that_would_show_the_flag_came_without_it(built, name, is_gone):
    assert dim_flag(built, name)["is_gone"] is is_gone


@pytest.mark.parametrize(
    ("name", "changed_by"),
    [("nobody", None), ("the environment", "None"), ("the own override", "ann"), ("the own segment", "5")],
)
def test_explained__only_changes_that_can_have_reached_the_identity(built, name, changed_by):
    query = "select changed_by from marts.fct_explained_assignments where environment = ?"
    assert built.query(query, f"explained by {name}") == [{"changed_by": changed_by}]
