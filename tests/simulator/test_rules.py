"""Membership follows from stored traits, by Flagsmith's rules."""

import pytest

from flagsmith_warehouse.simulator.rules import is_member

from .captured import PROJECT, evaluations


def test_rules__captured_identities__are_in_the_segments_that_flagsmith_stated():
    seen = set()
    for _, body in evaluations():
        stored = {
            trait["trait_key"]: trait["trait_value"] for trait in body["traits"] if not trait["transient"]
        }
        stated = {segment["id"]: segment["member"] for segment in body["segments"]}
        for segment in PROJECT["segments"]:
            ours = is_member(segment, PROJECT["environment_key"], body["identity"], stored)
            assert ours == stated[segment["id"]], (segment["name"], body["identity"])
            seen.add((segment["id"], ours))
    assert len(seen) >= 19  # every segment but "trait set" was seen from both sides


def segment(operator: str, value: str) -> dict:
    condition = {"property": "trait", "operator": operator, "value": value}
    return {"id": 1, "name": "one", "rules": [{"type": "ALL", "conditions": [condition], "rules": []}]}


@pytest.mark.parametrize(
    ("operator", "value", "trait", "expected"),
    [
        ("EQUAL", "true", True, True),
        ("EQUAL", "1", 1, True),
        ("EQUAL", "one", 1, False),
        ("NOT_EQUAL", "1", 2, True),
        ("GREATER_THAN", "1.9.0:semver", "1.10.0", True),
        ("GREATER_THAN", "1.9.0:semver", "no version", False),
        ("GREATER_THAN", "2.0.0:semver", "2.0.0-beta", False),
        ("GREATER_THAN", "2.0.0-beta:semver", "2.0.0", True),
        ("GREATER_THAN_INCLUSIVE", "5", 5, True),
        ("LESS_THAN", "5", 5, False),
        ("LESS_THAN_INCLUSIVE", "5", 5.0, True),
        ("IN", "a,b", "b", True),
        ("CONTAINS", "é", "Zoé", True),
        ("NOT_CONTAINS", "é", "Zoe", True),
        ("MODULO", "2|0", 4, True),
        ("MODULO", "2|0", "4", False),
        ("IS_SET", "", None, False),
        ("IS_NOT_SET", "", None, True),
        ("EQUAL", "x", None, False),
    ],
)
def test_rules__one_condition__holds_as_expected(operator, value, trait, expected):
    assert is_member(segment(operator, value), "key", "somebody", {"trait": trait}) is expected


def test_rules__none_of__turns_the_conditions_round():
    none_of = segment("EQUAL", "x")
    none_of["rules"][0]["type"] = "NONE"
    assert not is_member(none_of, "key", "somebody", {"trait": "x"})
    assert is_member(none_of, "key", "somebody", {"trait": "y"})


def test_rules__unknown_operator__is_named():
    with pytest.raises(ValueError, match="no operator 'SOUNDS_LIKE'"):
        is_member(segment("SOUNDS_LIKE", "x"), "key", "somebody", {"trait": "x"})
