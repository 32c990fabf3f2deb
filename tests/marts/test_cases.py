"""The rows of a mart for one particular body or sequence of bodies. Each case has its own environment, so that one run
builds all of them in one warehouse."""

import json
from datetime import datetime, timedelta

import pytest

from .compare import assert_marts_equal
from .conftest import CAPTURED, landed
from .reference import Warehouse as Reference
from .warehouse import Warehouse

NOON = datetime(2026, 5, 1, 12)


def flag(feature_id=1, value=None, enabled=True, kind="STANDARD", name="f", **further) -> dict:
    feature = {"id": feature_id, "name": name, "type": kind, "initial_value": None, "default_enabled": True}
    return {
        "enabled": enabled,
        "feature": feature,
        "feature_state_value": value,
        "feature_segment": None,
        "identity": None,
        **further,
    }


def evaluation(flags=(), segments=(), traits=(), identity="ann") -> dict:
    return {"flags": list(flags), "identity": identity, "segments": list(segments), "traits": list(traits)}


MV = {"kind": "MULTIVARIATE"}
# The definition of `variation` in the contract, line by line: (flag, variation, value_type, assignment_reason).
VARIATIONS = {
    "disabled": (flag(value="a", enabled=False), "off", "string", "environment_default"),
    "disabled multivariate": (flag(value="a", enabled=False, percentage_allocation=30.0, **MV), "off", "string", "environment_default"),
    "option": (flag(value="a", percentage_allocation=30.0, **MV), "a", "string", "environment_default"),
    "option of weight zero": (flag(value="a", percentage_allocation=0.0, **MV), "a", "string", "environment_default"),
    "whole percentage": (flag(value=2, percentage_allocation=30, **MV), "2", "integer", "environment_default"),
    "control": (flag(value="a", percentage_allocation=None, **MV), "control", "string", "environment_default"),
    "control without value": (flag(value=None, **MV), "control", "null", "environment_default"),
    "override to no option": (flag(value="a", identity=7, percentage_allocation=None, **MV), "control", "string", "identity_override"),
    "override to an option": (flag(value="a", identity=7, percentage_allocation=100.0, **MV), "a", "string", "identity_override"),
    "override to an empty option": (flag(value="", identity=7, **MV), "", "string", "identity_override"),
    "old server's override": (flag(value="a", identity=7, **MV), "a", "string", "identity_override"),
    "override of a split to nothing": (flag(value=None, identity=7, **MV), "control", "null", "identity_override"),
    "empty option": (flag(value="", **MV), "", "string", "environment_default"),
    "zero option": (flag(value=0, **MV), "0", "integer", "environment_default"),
    "false option": (flag(value=False, **MV), "false", "boolean", "environment_default"),
    "old server's option": (flag(value="a", **MV), "a", "string", "environment_default"),
    "split in a segment": (flag(value="a", feature_segment=3, percentage_allocation=50.0, **MV), "a", "string", "segment_override"),
    "identity before segment": (flag(value="a", feature_segment=3, identity=7), "a", "string", "identity_override"),
    "plain": (flag(), "on", "null", "environment_default"),
    "plain, percentage null": (flag(value="blue", percentage_allocation=None), "blue", "string", "environment_default"),
    "empty": (flag(value=""), "", "string", "environment_default"),
    "zero": (flag(value=0), "0", "integer", "environment_default"),
    "false": (flag(value=False), "false", "boolean", "environment_default"),
    "text false": (flag(value="false"), "false", "string", "environment_default"),
    "json stays text": (flag(value='{"a": 1}'), '{"a": 1}', "string", "environment_default"),
    "a fraction": (flag(value=1.0), "1.0", "float", "environment_default"),
    "an object": (flag(value={"a": [1]}), '{"a":[1]}', "json", "environment_default"),
    "30 digits": (flag(value=10**29), str(10**29), "integer", "environment_default"),
    "old type": (flag(value="x", kind="CONFIG"), "x", "string", "environment_default"),
    "key in a value": (flag(value='"percentage_allocation":null', **MV), '"percentage_allocation":null', "string", "environment_default"),
}  # fmt: skip

# trait value -> (value_text, value_number, value_boolean, value_type)
TRAITS = {
    "null": (None, (None, None, None, "null")),
    "empty": ("", ("", None, None, "string")),
    "text": ("1", ("1", None, None, "string")),
    "integer": (1, ("1", 1.0, None, "integer")),
    "negative": (-7, ("-7", -7.0, None, "integer")),
    "beyond 2^53": (2**53 + 1, (str(2**53 + 1), float(2**53 + 1), None, "integer")),
    "30 digits": (10**29, (str(10**29), 1e29, None, "integer")),
    "float": (12.0, ("12.0", 12.0, None, "float")),
    "small": (1e-07, ("1e-07", 1e-07, None, "float")),
    "minus zero": (-0.0, ("-0.0", -0.0, None, "float")),
    "true": (True, ("true", None, True, "boolean")),
    "text true": ("true", ("true", None, None, "string")),
    "list as text": ("['a', 1]", ("['a', 1]", None, None, "string")),
    "an object": ({"a": 1}, ('{"a":1}', None, None, "json")),
}
REST = ', "identity": "ann", "segments": [], "traits": []}'
# (body, reason)
UNREADABLE = {
    "empty": ("", "not_json"),
    "half": ("{", "not_json"),
    "lone surrogate": ('{"identity": "\\ud83d", "flags": []}', "not_json"),
    "number": ("3", "unknown_shape"),
    "identity alone": ('{"identity": "ann"}', "unknown_shape"),
    "event without data": ('{"event_type": "FLAG_UPDATED"}', "unknown_shape"),
    "no identity": ('{"flags": []}', "identity_not_a_string"),
    "flags an object": ('{"identity": "ann", "flags": {}}', "flags_not_an_array"),
    "flags of numbers": ('{"identity": "ann", "flags": [1]}', "flag_without_id_or_state"),
    "segment without member": (
        '{"identity": "ann", "segments": [{"id": 1}]}',
        "segment_without_id_or_membership",
    ),
    "trait without key": ('{"identity": "ann", "traits": [{"trait_value": 1}]}', "trait_without_key"),
    "event whose data is null": ('{"event_type": "FLAG_UPDATED", "data": null}', "unknown_shape"),
    "event whose data is an array": ('{"event_type": "FLAG_UPDATED", "data": []}', "unknown_shape"),
    "event whose data is a text": ('{"event_type": "FLAG_UPDATED", "data": "{}"}', "unknown_shape"),
    "event of no text": ('{"event_type": 5, "data": {}}', "unknown_shape"),
    "event whose data is a number": ('{"event_type": "FLAG_UPDATED", "data": 1}', "unknown_shape"),
    # Wrong types that are valid JSON.
    **{
        f"feature id {value!r}": (json.dumps(evaluation([flag(value)])), "flag_feature_id_not_an_integer")
        for value in ("1", 1.0, True, 1.5, 10**20, [1])
    },
    "feature id 1e1": (
        json.dumps(evaluation([flag(10)])).replace('"id": 10', '"id": 1e1'),
        "flag_feature_id_not_an_integer",
    ),
    "feature id NaN": (json.dumps(evaluation([flag(float("nan"))])), "flag_feature_id_not_an_integer"),
    **{
        f"enabled {value!r}": (json.dumps(evaluation([flag(enabled=value)])), "flag_enabled_not_a_boolean")
        for value in ("true", 1, [], {})
    },
    "feature name 5": (json.dumps(evaluation([flag(name=5)])), "flag_feature_name_not_a_string"),
    "feature type 5": (json.dumps(evaluation([flag(kind=5)])), "flag_feature_type_not_a_string"),
    **{
        f"percentage {value!r}": (
            json.dumps(evaluation([flag(value="a", percentage_allocation=value, **MV)])),
            "flag_percentage_allocation_not_a_number",
        )
        for value in ("30", True, [30], float("nan"), float("inf"))
    },
    **{
        f"segment id {value!r}": (
            json.dumps(evaluation(segments=[{"id": value, "name": "s", "member": True}])),
            "segment_id_not_an_integer",
        )
        for value in ("1", 1.0, True, 1.5)
    },
    **{
        f"member {value!r}": (
            json.dumps(evaluation(segments=[{"id": 1, "name": "s", "member": value}])),
            "segment_member_not_a_boolean",
        )
        for value in ("true", 1, 0)
    },
    "segment name 5": (
        json.dumps(evaluation(segments=[{"id": 1, "name": 5, "member": True}])),
        "segment_name_not_a_string",
    ),
    **{
        f"trait key {value!r}": (
            json.dumps(evaluation(traits=[{"trait_key": value, "trait_value": 1}])),
            "trait_key_not_a_string",
        )
        for value in (5, True, ["k"])
    },
    **{
        f"transient {value!r}": (
            json.dumps(evaluation(traits=[{"trait_key": "k", "trait_value": 1, "transient": value}])),
            "trait_transient_not_a_boolean",
        )
        for value in (1, "true", [])
    },
    "deep": ("[" * 400 + "]" * 400, "unknown_shape"),
    # The part after the flags is valid by itself.
    "broken flags": (f'{{"flags": [{{]{REST}', "not_json"),
    "flags closed twice": (f'{{"flags": []]{REST}', "not_json"),
    "lone surrogate in the flags": (f'{{"flags": ["\\ud83d"]{REST}', "not_json"),
    # DuckDB reads NaN and Infinity in any spelling; Python, which writes them, only in its own.
    **{
        f"{token} as a trait": (
            f'{{"identity": "ann", "traits": [{{"trait_key": "n", "trait_value": {token}}}]}}',
            "not_json",
        )
        for token in ("nan", "NAN", "-NaN", "-nan", "inf", "-Inf", "infinity", "INFINITY", 'NaN, "a": nan')
    },
    "nan alone": ("nan", "not_json"),
    "nan after a quotation mark": (r'{"identity": "\"", "flags": null, "new": [nan ] }', "not_json"),
    "nan in the flags": (f'{{"flags": [{json.dumps(flag())[:-1]}, "a": nan}}]{REST}', "not_json"),
    "inf behind the flags": (f'{{"flags": []{REST[:-1]}, "new": inf}}', "not_json"),
    "inf in an event": ('{"event_type": "FLAG_UPDATED", "data": {"a": inf}}', "not_json"),
    # DuckDB accepts a comma after the last element.
    "comma at the end of the flags": (f'{{"flags": [{json.dumps(flag())}, ]{REST}', "not_json"),
    "comma at the end of a flag": (f'{{"flags": [{json.dumps(flag())[:-1]},}}]{REST}', "not_json"),
    "comma at the end of the traits": (f'{{"flags": []{REST[:-2]},]}}', "not_json"),
    "comma at the end": ('{"identity": "ann", "flags": [],\n}', "not_json"),
    "comma at the end, and a quotation mark": (r'{"identity": "\",]", "flags": [],}', "not_json"),
    "comma at the end of an event": ('{"event_type": "FLAG_UPDATED", "data": {"a": 1,}}', "not_json"),
    "half a rest": ('{"flags": [], "identity": "ann", "segments": [], "traits": [', "not_json"),
}
TRAIT = {"trait_key": "k", "trait_value": 1}
READABLE = {
    "NUL in a value": json.dumps(evaluation([flag(value="a\x00b")], identity="nul\x00")),
    "NaN": '{"identity": "ann", "flags": [], "segments": [], "traits": [{"trait_key": "n", "trait_value": NaN}]}',
    "1e999": '{"identity": "ann", "flags": [], "segments": [], "traits": [{"trait_key": "n", "trait_value": 1e999}]}',
    "flags null": '{"identity": "ann", "flags": null, "segments": [], "traits": []}',
    "traits missing": '{"identity": "ann", "flags": []}',
    "Infinity": '{"identity": "ann", "flags": [], "segments": [], "traits": [{"trait_key": "n", "trait_value": -Infinity}]}',
    "identity twice": '{"flags": [], "identity": "ann", "segments": [], "traits": [], "identity": "bob"}',
    "flags twice": f'{{"flags": {json.dumps([flag()])}, "identity": "ann", "segments": [], "traits": [], "flags": []}}',
    "keys of an element twice": '{"identity": "ann", "flags": [], "segments": [], "traits": '
    '[{"trait_key": "n", "trait_key": 5, "trait_value": 1, "trait_value": 2}]}',
    "NaN and Infinity as they are written, and others within texts": json.dumps(
        {
            **evaluation([flag(value="nan", further=[float("nan")] * 3)]),
            "nan": [float("inf"), -float("inf"), "a: inf}"],
        }
    ),
    "unknown keys": json.dumps({**evaluation([flag(further=1)]), "new": {"a": 1}}),
    # The keys exist, but say nothing. A body without any of them is not an evaluation (`identity alone`, above).
    "all three null": '{"identity": "ann", "flags": null, "segments": null, "traits": null}',
    "flags null alone": '{"identity": "ann", "flags": null}',
    "all empty": json.dumps(evaluation()),
    "500 flags": json.dumps(evaluation([flag(number) for number in range(500)])),
    "long identity": json.dumps(evaluation([flag()], identity="☃é" * 1000)),
    "an identity behind an array within the flags": json.dumps(
        evaluation([{"list": [1], "identity": "7", **flag(identity="7")}, flag(2)])
    ),
    "the end of the flags within a value": json.dumps(
        evaluation([flag(value='], "identity": "x", "segments": [], "traits": []}')])
    ),
    "commas before brackets within texts": json.dumps(
        evaluation(
            [flag(value='\\",]'), flag(2, value="a, }")], traits=[{**TRAIT, "trait_value": '{"b": [1,],}'}]
        )
    ),
    "traits before the identity": json.dumps(
        {"flags": [flag()], "traits": [TRAIT], "identity": "ann", "segments": []}
    ),
    "something between flags and identity": json.dumps(
        {"flags": [flag()], "new": [1], **evaluation([flag()], traits=[TRAIT])}
    ),
    "without spaces": json.dumps(evaluation([flag()], traits=[TRAIT]), separators=(",", ":")),
    "documented": (CAPTURED / "documented_example.json").read_text(),
}
# The time of a change as written, and the same time in UTC.
TIMES = {
    "2026-05-01T14:00:00.123456Z": datetime(2026, 5, 1, 14, 0, 0, 123456),
    "2026-05-01T14:00:00z": datetime(2026, 5, 1, 14),
    "2026-05-01T14:00:00+02:00": datetime(2026, 5, 1, 12),
    "2026-05-01T14:00:00+0200": datetime(2026, 5, 1, 12),
    "2026-05-01T23:30:00-05": datetime(2026, 5, 2, 4, 30),
    "2026-05-01 14:00": datetime(2026, 5, 1, 14),
    "2026-05-01 14:00:00.5 +02:00": datetime(2026, 5, 1, 12, 0, 0, 500000),
    "2026-05-01 14:00 -0530": datetime(2026, 5, 1, 19, 30),
    "2026-05-01 14:00:00 UTC": datetime(2026, 5, 1, 14),
    "2026-05-01t14:00:00utc": datetime(2026, 5, 1, 14),
    "2026-05-01 14:00:00  +02:00": None,
    "2026-05-01 +02:00": None,
    "2026-05-01 14:00:00 CEST": None,
    "2026-05-01": datetime(2026, 5, 1),
    "2026-05-01T14:00:00 Europe/Berlin": None,
    "09/01/2026": None,
    "infinity": None,
    "0000-01-01T00:00:00Z": None,
    "9999-12-31T23:59:59-12:00": None,
    "2026-13-01T00:00:00Z": None,
}
# The body of a change, and its columns CHANGE_COLUMNS.
CHANGE_COLUMNS = (
    "changed_by",
    "feature_id",
    "feature_name",
    "identity",
    "segment_id",
    "changed_at",
    "new_weights",
)
TYPED_CHANGES = {
    "all as it should be": (
        {"changed_by": "a@b.c", "new_state": {"feature": {"id": 3, "name": "f"}}},
        ("a@b.c", 3, "f", None, None, None, None),
    ),
    "numbers": (
        {"changed_by": 5, "new_state": {"feature": {"id": 3, "name": 3}, "identity_identifier": 7}},
        (None, 3, None, None, None, None, None),
    ),
    "others": (
        {"changed_by": {}, "new_state": {"feature": {"id": "3", "name": []}, "identity_identifier": True}},
        (None,) * 7,
    ),
    **{
        f"{wrong!r} hides nothing": (
            {
                "changed_by": wrong,
                "published_by": {"email": "a@b.c"},
                "new_state": {
                    "feature": {"id": wrong, "name": wrong},
                    "identity_identifier": wrong,
                    "feature_segment": {"segment": {"id": wrong}},
                    "multivariate_feature_state_values": None,
                },
                "previous_state": {
                    "feature": {"id": 3, "name": wrong},
                    "identity_identifier": "ann",
                    "feature_segment": {"segment": {"id": 4}},
                },
                "feature": {"id": 5, "name": "f"},
                "timestamp": wrong,
                "created_date": wrong,
                "live_from": "2026-05-01T14:00:00Z",
            },
            ("a@b.c", 3, "f", "ann", 4, datetime(2026, 5, 1, 14), None),
        )
        for wrong in (None, [5])
    },
}
# Bodies an hour apart.
SEQUENCES = {
    "elements twice": [
        evaluation(
            [flag(value="first"), flag(value="last")],
            [{"id": 1, "name": name, "member": True} for name in ("first", "last")],
            [{"trait_key": "k", "trait_value": value} for value in ("first", "last")],
        )
    ],
    "renamed": [evaluation([flag(name="old")]), evaluation([flag(name="new")])],
    "id reused": [evaluation([flag(value="a", name="x")]), evaluation([flag(kind="MULTIVARIATE", name="y")])],
    "trait changes type": [evaluation(traits=[{"trait_key": "k", "trait_value": v}]) for v in (1, "1", 1.0, True, None)],
    "segment gone": [evaluation(segments=[{"id": 1, "name": "s", "member": True}]), evaluation()],
    "segment left": [evaluation(segments=[{"id": 1, "name": "s", "member": member}]) for member in (True, False, True)],
    "flags silent": [evaluation([flag()]), {"identity": "ann", "traits": []}, evaluation([flag()])],
    "flag hidden and shown": [evaluation([flag()]), evaluation(), evaluation(), evaluation([flag(name="g")])],
    "flag changed while hidden": [
        evaluation(flags)
        for flags in (
            [flag(value="a", percentage_allocation=30.0, **MV)],
            [],
            [flag(value="a", percentage_allocation=10.0, **MV)],
            [],
            [flag(value="b", percentage_allocation=50.0, **MV)],
            [],
            [flag(value="b", percentage_allocation=50.0, **MV)],
            [],
            [flag(value="b", enabled=False, percentage_allocation=50.0, **MV)],
        )
    ],
    "flag hidden since": [evaluation([flag()]), evaluation([flag(name="g")]), evaluation(), evaluation([flag(2)])],
    "reweighted": [evaluation([flag(value="a", percentage_allocation=p, **MV)]) for p in (30.0, 10.0)]
    + [evaluation([flag(value="b", percentage_allocation=50.0, **MV)])],
    "overridden": [evaluation([flag(**further)]) for further in ({}, {"feature_segment": 1}, {"identity": 1}, {"feature_segment": 1}, {})],
    "toggled": [evaluation([flag(enabled=enabled)]) for enabled in (True, False)],
    "value edited": [evaluation([flag(value=value)]) for value in ("a", "b")],
}  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Warehouse, list]:
    rows = []

    def land(environment: str, *bodies: str) -> None:
        for number, body in enumerate(bodies):
            identifier = f"{len(rows):06d}"
            rows.append(landed(body, NOON + timedelta(hours=number), identifier, environment))

    for name, (body_flag, *_) in VARIATIONS.items():
        land(f"variation: {name}", json.dumps(evaluation([body_flag])))
    for name, (value, _) in TRAITS.items():
        land(f"trait: {name}", json.dumps(evaluation(traits=[{"trait_key": "k", "trait_value": value}])))
    for name, (body, _) in UNREADABLE.items():
        land(f"unreadable: {name}", body)
    for name, body in READABLE.items():
        land(f"readable: {name}", body)
    for text in TIMES:
        land(f"time: {text}", json.dumps({"event_type": "FLAG_UPDATED", "data": {"timestamp": text}}))
    for name, (data, _) in TYPED_CHANGES.items():
        land(f"change: {name}", json.dumps({"event_type": "FLAG_UPDATED", "data": data}))
    for name, bodies in SEQUENCES.items():
        land(name, *map(json.dumps, bodies))
    warehouse = Warehouse(tmp_path_factory.mktemp("cases"))
    warehouse.land(rows)
    warehouse.dbt("build", "--exclude-resource-type", "unit_test")
    return warehouse, rows


def test_cases__all_of_them__equal_plain_python(built):
    """Numbers that Python's json cannot represent exactly, and keys that occur twice, are asserted separately below."""
    warehouse, rows = built
    names = ("NaN", "1e999", "Infinity", "identity twice", "flags twice", "keys of an element twice")
    beyond = tuple(f"readable: {name}" for name in names) + tuple(
        f"unreadable: {name}"
        for name in ("feature id NaN", "percentage nan", "percentage inf", f"feature id {10**20}")
    )
    assert_marts_equal(
        warehouse, Reference([row for row in rows if row.environment not in beyond]), without=beyond
    )


@pytest.mark.parametrize("name", VARIATIONS)
def test_variation__each_line_of_its_definition(built, name):
    _, variation, value_type, reason = VARIATIONS[name]
    rows = built[0].query(
        "select * from marts.fct_flag_exposures where environment = ?", f"variation: {name}"
    )
    assert [(row["variation"], row["value_type"], row["assignment_reason"]) for row in rows] == [
        (variation, value_type, reason)
    ]


@pytest.mark.parametrize("name", TRAITS)
def test_trait__each_type__is_told_apart(built, name):
    rows = built[0].query("select * from marts.fct_identity_traits where environment = ?", f"trait: {name}")
    columns = ("value_text", "value_number", "value_boolean", "value_type")
    assert [tuple(row[column] for column in columns) for row in rows] == [TRAITS[name][1]]


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_body__is_quarantined_with_its_reason(built, name):
    rows = built[0].query(
        "select * from marts.quarantined_deliveries where environment = ?", f"unreadable: {name}"
    )
    body, reason = UNREADABLE[name]
    assert [(row["reason"], row["body_excerpt"]) for row in rows] == [(reason, body[:200])]


@pytest.mark.parametrize("name", READABLE)
def test_readable_body__however_odd__is_an_evaluation(built, name):
    environment = f"readable: {name}"
    identities = built[0].query("select * from marts.dim_identities where environment = ?", environment)
    flags = built[0].query("select * from marts.fct_flag_exposures where environment = ?", environment)
    body = json.loads(READABLE[name], object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    assert [row["identity"] for row in identities] == [body["identity"]]
    assert len(flags) == len(body["flags"] or [])


def test_number_beyond_a_double__keeps_its_text_and_has_no_number(built):
    rows = built[0].query("select * from marts.fct_identity_traits where environment = 'readable: 1e999'")
    assert [(row["value_text"], row["value_number"], row["value_type"]) for row in rows] == [
        ("1e999", None, "float")
    ]


@pytest.mark.parametrize("name", ["NaN", "Infinity"])
def test_number_that_json_does_not_know__keeps_its_text_and_has_no_number(built, name):
    rows = built[0].query(
        "select * from marts.fct_identity_traits where environment = ?", f"readable: {name}"
    )
    text = {"NaN": "NaN", "Infinity": "-Infinity"}[name]
    assert [(row["value_text"], row["value_number"], row["value_type"]) for row in rows] == [
        (text, None, "float")
    ]


def test_key_that_is_there_twice__the_first_counts(built):
    rows = built[0].query(
        "select trait_key, value_text from marts.fct_identity_traits where environment = 'readable: keys of an element twice'"
    )
    assert rows == [{"trait_key": "n", "value_text": "1"}]


def test_element_that_is_there_twice__the_last_counts(built):
    tables = {
        "fct_segment_memberships": "segment_name",
        "fct_identity_traits": "value_text",
        "fct_flag_exposures": "variation",
    }
    said = {
        mart: [
            row[column] for row in built[0].query(f"from marts.{mart} where environment = 'elements twice'")
        ]
        for mart, column in tables.items()
    }
    assert said == {
        "fct_segment_memberships": ["last"],
        "fct_identity_traits": ["last"],
        "fct_flag_exposures": ["last"],
    }


@pytest.mark.parametrize("text", TIMES)
def test_changed_at__each_spelling__is_utc(built, text):
    rows = built[0].query(
        "select changed_at from marts.fct_flag_changes where environment = ?", f"time: {text}"
    )
    assert [row["changed_at"] for row in rows] == [TIMES[text]]


@pytest.mark.parametrize("name", TYPED_CHANGES)
def test_change__a_part_of_a_wrong_type__is_null_and_the_others_are_kept(built, name):
    rows = built[0].query("select * from marts.fct_flag_changes where environment = ?", f"change: {name}")
    assert [tuple(row[column] for column in CHANGE_COLUMNS) for row in rows] == [TYPED_CHANGES[name][1]]


def reasons(built, environment: str) -> list[tuple]:
    rows = built[0].query(
        "select * from marts.fct_flag_assignments where environment = ? and feature_id = 1 order by valid_from",
        environment,
    )
    return [
        (row["variation"], row["change_reason"], row["evaluation_count"], row["feature_name"]) for row in rows
    ]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ("renamed", [("on", "first_seen", 2, "new")]),
        ("id reused", [("a", "first_seen", 1, "x"), ("control", "value_changed", 1, "y")]),
        ("flags silent", [("on", "first_seen", 2, "f")]),
        ("flag hidden and shown", [("on", "first_seen", 2, "g")]),
        (
            "flag changed while hidden",
            [("a", "first_seen", 2, "f"), ("b", "weights_changed", 2, "f"), ("off", "toggled", 1, "f")],
        ),
        ("flag hidden since", [("on", "first_seen", 2, "g")]),
        ("reweighted", [("a", "first_seen", 2, "f"), ("b", "weights_changed", 1, "f")]),
        (
            "overridden",
            [
                ("on", "first_seen", 1, "f"),
                ("on", "segment_override_added", 1, "f"),
                ("on", "identity_override_added", 1, "f"),
                ("on", "identity_override_removed", 1, "f"),
                ("on", "segment_override_removed", 1, "f"),
            ],
        ),
        ("toggled", [("on", "first_seen", 1, "f"), ("off", "toggled", 1, "f")]),
        ("value edited", [("a", "first_seen", 1, "f"), ("b", "value_changed", 1, "f")]),
    ],
)
def test_assignments__sequence__spells_and_reasons(built, environment, expected):
    assert reasons(built, environment) == expected


def test_segments__absence_and_statement_end_a_membership_with_their_own_reason(built):
    rows = built[0].query("select * from marts.fct_segment_memberships order by entered_at")
    ends = {e: [(r["entered_at"].hour, r["left_at"] and r["left_at"].hour, r["left_reason"]) for r in rows if r["environment"] == e]
            for e in ("segment gone", "segment left")}  # fmt: skip
    assert ends == {
        "segment gone": [(12, 13, "absent")],
        "segment left": [(12, 13, "stated"), (14, None, None)],
    }


def test_traits__type_changes__begin_spells(built):
    rows = built[0].query(
        "select value_type from marts.fct_identity_traits where environment = 'trait changes type' order by valid_from"
    )
    assert [row["value_type"] for row in rows] == ["integer", "string", "float", "boolean", "null"]


def test_captured_requests__built_late_half_first__equal_plain_python(warehouse, captured):
    """Given the later half landed and built first; then the earlier half, weeks late to a look-back window, changes it."""
    half = len(captured) // 2
    for part in (captured[half:], captured[:half]):
        warehouse.land(part)
        warehouse.run()
    assert_marts_equal(warehouse, Reference(captured))


def test_environments__same_ids_on_two_servers__never_mix(warehouse, captured):
    """Given the same bodies in two environments; then each has the marts it would have alone."""
    other = [row._replace(delivery_id=f"other-{row.delivery_id}", environment="staging") for row in captured]
    warehouse.land(captured + other)
    warehouse.run()
    assert_marts_equal(warehouse, Reference(captured + other))
    alone = {repr(sorted(row.items())) for row in Reference(captured).fct_flag_assignments()}
    built = [row for row in warehouse.mart("fct_flag_assignments") if row["environment"] == "production"]
    assert {repr(sorted(row.items())) for row in built} == alone
