"""Our bytes are Flagsmith's bytes."""

import json

import pytest

from flagsmith_warehouse.simulator import capture
from flagsmith_warehouse.simulator.parameters import Parameters
from flagsmith_warehouse.simulator.wire import serialise, sign
from flagsmith_warehouse.simulator.world import World

from .captured import REQUESTS


def backwards(pairs: list[tuple[str, object]]) -> dict:
    return dict(reversed(pairs))


def test_serialise__every_captured_body__comes_back_byte_for_byte():
    for request in REQUESTS:
        assert serialise(json.loads(request["body"], object_pairs_hook=backwards)) == request["body"]


def test_sign__every_captured_request__has_the_captured_signature():
    signed = [request for request in REQUESTS if request["secret"]]
    assert len(signed) > 100
    for request in signed:
        assert (
            sign(request["body"].encode(), request["secret"]) == request["headers"]["X-Flagsmith-Signature"]
        )


def test_headers__no_secret__carry_no_signature():
    assert "X-Flagsmith-Signature" not in capture.headers(b"{}", "")


def shape(flag: dict) -> tuple:
    """What kind of flag this is, and which keys it has."""
    value = flag["feature_state_value"]
    kind = (flag["feature"]["type"], type(value).__name__, bool(value))
    return (*kind, tuple(flag), tuple(flag["feature"]))


@pytest.fixture(scope="module")
def bodies() -> list[dict]:
    world = World(Parameters(deliveries=1_000, identities=100, transient=0.2))
    return [json.loads(evaluation.body) for evaluation in world.evaluations()]


def captured_bodies(key: str) -> list[dict]:
    return [body for body in (json.loads(request["body"]) for request in REQUESTS) if key in body]


def test_bodies__each_kind_of_flag__has_the_keys_of_the_captured_one(bodies):
    ours = {shape(flag) for body in bodies for flag in body["flags"]}
    theirs = {shape(flag) for body in captured_bodies("flags") for flag in body["flags"]}
    assert ours == theirs


def test_bodies__segments_and_traits__have_the_keys_of_the_captured_ones(bodies):
    for part in ("segments", "traits"):
        ours = {tuple(element) for body in bodies for element in body[part]}
        theirs = {tuple(element) for body in captured_bodies("flags") for element in body[part]}
        assert ours == theirs
    assert {tuple(body) for body in bodies} == {tuple(body) for body in captured_bodies("flags")}


def test_bodies__traits__have_every_type_and_only_transient_ones_have_no_id(bodies):
    traits = [trait for body in bodies for trait in body["traits"]]
    assert {type(trait["trait_value"]) for trait in traits} == {str, int, float, bool, type(None)}
    assert {(trait["id"] is None, trait["transient"]) for trait in traits} == {(True, True), (False, False)}


def keys(document: object) -> object:
    """The keys of a document at every depth, without its values."""
    if isinstance(document, dict):
        return {key: keys(value) for key, value in document.items()}
    return None


def test_flag_changes__each__has_keys_that_a_captured_change_has():
    def shapes(changes: list[dict]) -> list:
        states = [change["data"].get(key) for change in changes for key in ("new_state", "previous_state")]
        return [keys({**state, "feature_segment": None}) for state in states if state]

    ours = [json.loads(change.body) for change in World().flag_changes()]
    theirs = [change for change in captured_bodies("event_type") if change["event_type"] == "FLAG_UPDATED"]
    assert len(ours) > 10
    assert all(shape == shapes(theirs)[0] for shape in shapes(ours))
    assert {change["event_type"] for change in ours} == {"FLAG_UPDATED", "FLAG_DELETED"}
    weights = [change["data"]["new_state"] for change in ours if change["data"]["new_state"]]
    options = {tuple(row) for state in weights for row in state["multivariate_feature_state_values"]}
    assert options == {("id", "multivariate_feature_option", "percentage_allocation")}
