"""Webhooks of one environment or identity never change the rows of another."""

import hashlib
import json
from datetime import timedelta

import duckdb
import pytest

from .conftest import landed
from .test_cases import MV, NOON, evaluation, flag
from .warehouse import Warehouse

# The same text as another part of somebody else's body, where it cannot be read.
SEGMENTS = '[{"id": 1, "member": true, "name": "s"}]'
SAME_TEXT = {
    "production": f'{{"flags": [], "identity": "ann", "segments": {SEGMENTS}, "traits": []}}',
    "traits": f'{{"flags": [], "identity": "x", "segments": [], "traits": {SEGMENTS}}}',
    "flags": f'{{"flags": {SEGMENTS}, "identity": "x", "segments": [], "traits": []}}',
    "segments and traits": '{"flags": [], "identity": "x", "segments": [1], "traits": [1]}',
    "all three": '{"flags": [1], "identity": "x", "segments": [1], "traits": [1]}',
}

# Two arrays of flags with the same length and the same hash by DuckDB's own function, which takes milliseconds to forge.
FORGED = {
    environment: '[{"enabled": true, "feature": {"id": 1, "name": "fffff", "type": "STANDARD"}, "feature_state_value": '
    f'"treatment_{value}"}}]'
    for environment, value in (("forger", "hpmiicfm%?:3:tQh"), ("victim", "original padding"))
}

# Two states of a flag whose columns, joined by a separator that the value may hold, are one text.
SEPARATORS = [
    flag(value="environment_default|control", percentage_allocation=30.0, **MV),
    flag(value="environment_default|control|environment_default", percentage_allocation=None, **MV),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Warehouse:
    """All bodies of this file in one build, those of the forger first."""
    rest = '"identity": "ann", "segments": [], "traits": [{"trait_key": "k", "trait_value": 1}]'
    bodies = [
        *((name, f'{{"flags": {flags}, {rest}}}') for name, flags in FORGED.items()),
        *SAME_TEXT.items(),
        *(("separators", json.dumps(evaluation([each]))) for each in SEPARATORS),
    ]
    warehouse = Warehouse(tmp_path_factory.mktemp("environments"))
    warehouse.land(
        [landed(body, NOON + timedelta(hours=n), f"{n:06d}", name) for n, (name, body) in enumerate(bodies)]
    )
    warehouse.run()
    return warehouse


def test_sets__same_text_as_another_kind__are_judged_by_their_own_kind(built):
    rows = built.query("select environment, reason from marts.quarantined_deliveries")
    assert sorted((row["environment"], row["reason"]) for row in rows) == [
        ("all three", "flag_without_id_or_state"),
        ("flags", "flag_without_id_or_state"),
        ("segments and traits", "segment_without_id_or_membership"),
        ("traits", "trait_without_key"),
    ]
    members = built.query("select environment, identity from marts.fct_segment_memberships")
    assert members == [{"environment": "production", "identity": "ann"}]


def test_sets__unreadable_in_several_parts__delivery_stays_one_row(built):
    [counted] = built.query(
        "select count(*) as deliveries, count(distinct delivery_id) as ids from intermediate.int_deliveries"
    )
    assert counted["deliveries"] == counted["ids"] == len(FORGED) + len(SAME_TEXT) + len(SEPARATORS)


def test_flags__hash_of_another_environments_flags_forged__each_has_its_own_value(built):
    with duckdb.connect() as connection:
        forged = "select hash($forger) = hash($victim) and length($forger) = length($victim)"
        assert connection.execute(forged, FORGED).fetchone() == (True,)
    rows = built.query("select environment, value from marts.fct_flag_exposures where feature_name = 'fffff'")
    assert {row["environment"]: row["value"] for row in rows} == {
        "forger": "treatment_hpmiicfm%?:3:tQh",
        "victim": "treatment_original padding",
    }


@pytest.mark.parametrize(
    ("part", "function"), [("flags", "sha1"), ("segments", "sha256"), ("traits", "sha256")]
)
def test_sets__hash__is_a_cryptographic_one_of_the_text(built, part, function):
    text = {"flags": FORGED["victim"], "segments": "[]", "traits": '[{"trait_key":"k","trait_value":1}]'}[
        part
    ]
    digest = hashlib.new(function, text.encode()).hexdigest()
    number = int.from_bytes(hashlib.md5(digest.encode(), usedforsecurity=False).digest(), "little")
    rows = built.query(
        f"select {part}_hash as number from intermediate.int_deliveries where environment = 'victim'"
    )
    assert rows == [{"number": number}]


def test_assignments__values_with_separators__are_two_states(built):
    rows = built.query(
        "select variation from marts.fct_flag_assignments where environment = 'separators' order by valid_from"
    )
    assert [row["variation"] for row in rows] == ["environment_default|control", "control"]
