"""`flagsmith_events` is what Flagsmith's own exposure SQL expects. The answers of its API to the same calls prove it."""

import json
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from .conftest import CAPTURED, landed
from .warehouse import Warehouse

ANSWERS = [json.loads(line) for line in (CAPTURED / "answers_2_265_0.ndjson").read_text().splitlines()]
PROJECT = json.loads((CAPTURED / "answers_project.json").read_text())
ENVIRONMENTS = {one["id"]: (one["name"].lower(), one["environment_key"]) for one in PROJECT["environments"]}
# The only ambiguous features: two options share a value, or the control has the value of an option.
AMBIGUOUS = {"mv_dup"}
# A short form of Flagsmith's exposure SQL: the first exposure in [start, end); more than one variant is quarantined.
EXPOSURES = """
select
    identifier,
    case when count(distinct value) > 1 then 'quarantined' else min(value) end as variant,
    min(timestamp) as exposed_at
from marts.flagsmith_events
where
    environment_key = ?
    and event = '$flag_exposure'
    and feature_name = ?
    and timestamp >= ?::timestamptz
    and timestamp < ?::timestamptz
group by identifier
"""
DECLARATIONS = "intermediate.declarations"
EXPERIMENT = "experiment_key, environment, feature_name, assignment_reason, control_variation, started_at"
REST = ("control", "2026-01-01")
COLUMNS = {
    "environment_key": "VARCHAR",
    "event": "VARCHAR",
    "feature_name": "VARCHAR",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "collected_at": "TIMESTAMP WITH TIME ZONE",
    "identifier": "VARCHAR",
    "value": "VARCHAR",
    "traits": "VARCHAR",
    "metadata": "VARCHAR",
    "sdk_language": "VARCHAR",
    "sdk_version": "VARCHAR",
}


def option_keys() -> list[tuple[str, str, str]]:
    """The rows of the seed `variants` for the project that answered."""
    return [
        (feature["name"], variation_of(option["value"]), option["key"])
        for feature in PROJECT["multivariate_features"]
        if feature["name"] not in AMBIGUOUS
        for option in feature["options"]
        if option["key"] and variation_of(option["value"]) != "control"
    ]


def variation_of(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """The calls that Flagsmith's API answered, in a warehouse whose keys and variants are declared."""
    warehouse = Warehouse(tmp_path_factory.mktemp("answered"))
    rows = []
    for number, call in enumerate(ANSWERS):
        body = json.loads(call["webhook_body"])
        environment, _ = ENVIRONMENTS[body["flags"][0]["environment"]]
        received_at = datetime.fromisoformat(call["webhook_at"]).replace(tzinfo=None)
        rows.append(landed(call["webhook_body"], received_at, f"{number:06d}", environment))
    warehouse.land(rows)
    declared = {environment: {"key": key} for environment, key in ENVIRONMENTS.values()}
    build(warehouse, {"flagsmith_environments": declared}, "+flagsmith_events")
    declare(warehouse, "variants", *option_keys())
    declare(
        warehouse,
        "experiments",
        *(
            (f"{environment}-exp", environment, "mv_exp", "environment_default", *REST)
            for environment, _ in ENVIRONMENTS.values()
        ),
        columns=EXPERIMENT,
    )
    build(warehouse, {"flagsmith_environments": declared}, DECLARATIONS)
    return warehouse


def build(warehouse: Warehouse, variables: dict, select: str) -> None:
    warehouse.dbt("run", "--vars", json.dumps(variables), "--select", select)


def declare(warehouse: Warehouse, seed: str, *rows: tuple, columns: str = "") -> None:
    with duckdb.connect(warehouse.path) as connection:
        connection.execute(f"delete from seeds.{seed}")
        for row in rows:
            into = f"{seed} ({columns})" if columns else seed
            connection.execute(f"insert into seeds.{into} values ({', '.join('?' * len(row))})", row)


def exposures(
    warehouse: Warehouse, key: str, feature: str, start="2020-01-01", end="2100-01-01"
) -> dict[str, str]:
    return {
        row["identifier"]: row["variant"]
        for row in warehouse.query(EXPOSURES, key, feature, f"{start} 00:00:00Z", f"{end} 00:00:00Z")
    }


def answered_variants(environment_id: int, feature: str, is_exposure) -> dict[str, str]:
    """The variant in the API's answers, by identity; `quarantined` if there were several."""
    said: dict[str, set] = {}
    for call in ANSWERS:
        body = json.loads(call["webhook_body"])
        flag = next((one for one in body["flags"] if one["feature"]["name"] == feature), None)
        if flag and flag["environment"] == environment_id and flag["enabled"] and is_exposure(flag):
            answer = next(one for one in call["answer"]["flags"] if one["feature"] == feature)
            # An option without a key has no name in Flagsmith: ours is kept.
            said.setdefault(body["identity"], set()).add(answer["variant"] or variation_of(answer["value"]))
    return {
        identity: "quarantined" if len(variants) > 1 else min(variants) for identity, variants in said.items()
    }


def test_flagsmith_events__its_columns__are_flagsmiths_in_type_and_order(answered):
    described = answered.query("describe marts.flagsmith_events")
    assert {row["column_name"]: row["column_type"] for row in described} == COLUMNS
    assert [row["column_name"] for row in described] == list(COLUMNS)


@pytest.mark.parametrize("environment_id", ENVIRONMENTS)
@pytest.mark.parametrize(
    "feature",
    ["mv_plain", "mv_nokey", "mv_int", "mv_bool", "mv_empty", "mv_full", "mv_id", "mv_null", "mv_exp"],
)
def test_flagsmith_events__flagsmiths_exposure_sql__finds_the_variant_of_its_api(
    answered, feature, environment_id
):
    _, key = ENVIRONMENTS[environment_id]
    is_exposure = lambda flag: not flag["identity"] and not flag["feature_segment"]  # noqa: E731
    expected = answered_variants(environment_id, feature, is_exposure)
    assert expected and exposures(answered, key, feature) == expected


def test_flagsmith_events__a_rollout__has_those_inside_alone(answered):
    """Given 100 % control by default and a split inside a segment; then identities outside the segment are left out."""
    expected = answered_variants(9, "mv_seg", lambda flag: flag["feature_segment"])
    assert set(expected.values()) >= {"control", "first", "second"}
    assert exposures(answered, ENVIRONMENTS[9][1], "mv_seg") == expected


def test_flagsmith_events__a_flag_that_is_off_or_standard__has_no_row(answered):
    names = {row["feature_name"] for row in answered.mart("flagsmith_events")}
    assert "mv_off" not in names and not [name for name in names if not name.startswith("mv_")]


# Written by hand: each feature is a separate story, with an hour between the evaluations of an identity.

NOON = datetime(2026, 5, 1, 12)
STORIES = {
    "toggled": [
        ("ann", "blue"),
        ("ann", "red"),
        ("ann", "off"),
        ("ann", "red"),
        ("ann", "blue"),
        ("bob", "red"),
    ],
    "same_for_all": [("cat", "blue"), ("dan", "blue in identity"), ("eve", "red in identity")],
    "pinned": [("fay", "blue"), ("gus", "blue in identity"), ("hal", "red in identity")],
    "two_splits": [("ida", "blue"), ("jon", "red"), ("kim", "blue in segment"), ("lea", "red in segment")],
    "rollout": [("max", "blue"), ("ned", "red"), ("oli", "blue in segment"), ("pam", "red in segment")],
    "doubled": [("quy", "blue"), ("ron", "red")],
    "standard": [("sue", "blue")],
}
DECLARED = [("pinned", "identity_override"), ("rollout", "segment_override")]


def body(feature: str, identity: str, given: str) -> str:
    value, _, override = given.partition(" in ")
    described = {
        "id": list(STORIES).index(feature) + 1,
        "name": feature,
        "initial_value": "c",
        "default_enabled": True,
    }
    described["type"] = "STANDARD" if feature == "standard" else "MULTIVARIATE"
    flag = {
        "enabled": value != "off",
        "feature": described,
        "feature_state_value": value,
        "percentage_allocation": 50.0,
        "feature_segment": 3 if override == "segment" else None,
        "identity": 7 if override == "identity" else None,
    }
    return json.dumps({"flags": [flag], "identity": identity, "segments": [], "traits": []})


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The stories in a warehouse, with their declarations."""
    warehouse = Warehouse(tmp_path_factory.mktemp("told"))
    warehouse.land(
        [
            landed(body(feature, identity, given), NOON + timedelta(hours=hour), f"{feature}{hour:04d}")
            for feature, steps in STORIES.items()
            for hour, (identity, given) in enumerate(steps)
        ]
    )
    other = landed(body("toggled", "ann", "blue"), NOON, "other", "o'brien")
    warehouse.land([other, landed(body("toggled", "bob", "red"), NOON, "other2", "o'brien")])
    build(warehouse, {}, "+flagsmith_events")
    experiments = [(f"{feature}-test", "production", feature, reason, *REST) for feature, reason in DECLARED]
    declare(warehouse, "experiments", *experiments, columns=EXPERIMENT)
    declare(
        warehouse,
        "variants",
        ("doubled", "blue", "first"),
        ("doubled", "blue", "second"),
        ("other", "red", "x"),
    )
    declare(warehouse, "identity_map", ("quy", "user-1"), ("quy", "user-2"), ("ron", "user-3"))
    build(warehouse, {}, DECLARATIONS)
    return warehouse


def events(warehouse, feature: str) -> list[tuple]:
    """Identifier, value and hour of a feature's events in production."""
    sql = """
        select identifier, value, (epoch(timestamp) - epoch(?::timestamp)) / 3600 as hour
        from marts.flagsmith_events where feature_name = ? and environment_key = 'production' order by hour, identifier
    """
    return [tuple(row.values()) for row in warehouse.query(sql, NOON, feature)]


def test_flagsmith_events__off_and_on_again__is_no_exposure_and_another_variant_is(told):
    assert events(told, "toggled") == [
        ("ann", "blue", 0),
        ("ann", "red", 1),
        ("ann", "blue", 4),
        ("bob", "red", 5),
    ]


@pytest.mark.parametrize(
    ("feature", "exposed"),
    [
        ("same_for_all", []),
        ("pinned", ["gus", "hal"]),
        ("two_splits", ["ida", "jon", "kim", "lea"]),
        ("rollout", ["oli", "pam"]),
    ],
)
def test_flagsmith_events__reasons__are_the_declared_experiments_else_where_chance_decided(
    told, feature, exposed
):
    assert [identifier for identifier, *_ in events(told, feature)] == exposed


def test_flagsmith_events__declared_twice__doubles_no_row_and_is_left_out(told):
    assert events(told, "doubled") == [("quy", "blue", 0), ("user-3", "red", 1)]


def test_flagsmith_events__a_session_in_another_zone__sees_the_same_moment(told):
    with duckdb.connect(told.path, read_only=True) as connection:
        connection.execute("set timezone = 'Asia/Kolkata'")
        (moment,) = connection.execute("select epoch(min(timestamp)) from marts.flagsmith_events").fetchone()
    assert moment == NOON.replace(tzinfo=UTC).timestamp()


def test_flagsmith_events__vars__bring_standard_flags_and_keys_and_keep_other_names(told):
    assert events(told, "standard") == []
    environments = {"production": {"name": "Production"}, "o'brien": {"key": "k'ey"}}
    asked = {"flagsmith_events_of_standard_flags": True, "flagsmith_environments": environments}
    build(told, asked, "flagsmith_events")
    assert events(told, "standard") == [("sue", "blue", 0)]
    assert {row["environment_key"] for row in told.mart("flagsmith_events")} == {"production", "k'ey"}
