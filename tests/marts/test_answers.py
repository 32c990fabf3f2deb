"""Our `variation` equals the answers of Flagsmith's own API to the calls whose webhooks were captured."""

import json
from datetime import datetime, timedelta

import pytest

from .conftest import CAPTURED, landed
from .reference import text_and_type
from .warehouse import Warehouse

NOON = datetime(2026, 5, 1, 12)
ANSWERED = [json.loads(line) for line in (CAPTURED / "answers_2_265_0.ndjson").read_text().splitlines()]
PROJECT = json.loads((CAPTURED / "answers_project.json").read_text())
OPTIONS = {
    feature["name"]: {option["key"]: option["value"] for option in feature["options"]}
    for feature in PROJECT["multivariate_features"]
}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Warehouse:
    """Each answered call has an environment of its own, named by its number."""
    warehouse = Warehouse(tmp_path_factory.mktemp("answers"))
    warehouse.land(
        [
            landed(call["webhook_body"], NOON + timedelta(hours=number), f"{number:04d}", f"call-{number}")
            for number, call in enumerate(ANSWERED)
        ]
    )
    warehouse.run()
    return warehouse


def variation_of(answer: dict) -> str:
    """The variation of a flag that the API answered, by the contract's definition."""
    if not answer["enabled"]:
        return "off"
    if answer["type"] == "MULTIVARIATE":
        is_option = answer["variant"] != "control"
        value = OPTIONS[answer["feature"]][answer["variant"]] if is_option else None
        return text_and_type(value)[0] if is_option else "control"
    return "on" if answer["value"] is None else text_and_type(answer["value"])[0]


def test_variation__every_flag_that_the_api_answered__is_what_it_says(built):
    """If the value does not distinguish an option from the control, the variation is listed as ambiguous instead."""
    given = {
        (row["environment"], row["feature_name"]): row
        for row in built.query("select * from marts.fct_flag_exposures")
    }
    ambiguous = {
        (row["environment"], row["name"]): row["ambiguous_variations"]
        for row in built.query("select environment, name, ambiguous_variations from marts.dim_flags")
    }
    judged, listed = 0, set()
    for number, call in enumerate(ANSWERED):
        for answer in call["answer"]["flags"]:
            key = (f"call-{number}", answer["feature"])
            variation = given[key]["variation"]
            judged += 1
            if variation != variation_of(answer):
                assert variation in ambiguous[key], (key, answer, variation)
                assert answer["variant"] == "control" and variation == text_and_type(answer["value"])[0]
                listed.add(answer["feature"])
    assert judged == 1370
    assert listed == {"mv_dup", "mv_key_control"}  # an option equals the control's value; the control is 0


def test_variation__identity_overrides_of_a_split__are_control_unless_they_are_an_option(built):
    rows = built.query(
        "select feature_name, variation, value from marts.fct_flag_exposures"
        " where is_multivariate and assignment_reason = 'identity_override' group by all order by all"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("mv_bool", "control", "zz"),
        ("mv_id", "control", None),
        ("mv_id", "v1", "v1"),
    ]
