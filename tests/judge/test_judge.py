"""The marts against the judge, for few seeds; by hand `python -m tests.judge --seeds 1-50` for many."""

import json
from datetime import datetime, timedelta

import pytest

from . import runs
from .bodies import History, Landed
from .expected import differences
from .marts import KEYS, expected

SEEDS = [1, 2, 3]


@pytest.fixture(scope="module")
def verdict(tmp_path_factory) -> runs.Verdict:
    """Three seeds in one warehouse, in two parts with odd builds between; and at once."""
    return runs.judge(tmp_path_factory.mktemp("judge"), SEEDS, parts=2, deliveries=120)


def test_builds__random_histories__every_plain_run_succeeds(verdict):
    assert verdict.failures == [], verdict.steps


def test_marts__random_histories_built_at_once__equal_the_judge(verdict):
    assert _told(verdict.at_once) == "", verdict.steps


def test_marts__random_histories_in_parts_and_odd_orders__equal_the_judge(verdict):
    assert _told(verdict.in_parts) == "", verdict.steps


def test_marts__random_histories_in_parts_and_odd_orders__equal_those_built_at_once(verdict):
    assert _told(verdict.between) == "", verdict.steps


def _told(found: list) -> str:
    """One example of each kind."""
    return "\n".join({(d.mart, d.kind): str(d) for d in found}.values())


def test_judge__a_mart_that_is_altered__is_noticed():
    """A row too many, too few, twice, and a value that is another, in every mart."""
    history = runs.together([1], deliveries=80)
    wanted = expected(History(history.rows, history.test_identities), history.experiments, history.events)
    for mart, key in KEYS.items():
        rows = [_as_built(row) for row in wanted[mart]]
        assert len(rows) > 1, f"the history has too few rows for {mart}"
        assert differences(mart, key, wanted[mart], rows) == []
        column = next(c for c in rows[0] if c not in key and isinstance(rows[0][c], int | str | datetime))
        kinds = [
            differences(mart, key, wanted[mart], rows[1:]),
            differences(mart, key, wanted[mart][1:], rows),
            differences(mart, key, wanted[mart], [*rows, rows[0]]),
            differences(mart, key, wanted[mart], [{**rows[0], column: "other"}, *rows[1:]]),
        ]
        assert [[d.kind for d in found] for found in kinds] == [
            ["row missing"],
            ["row extra"],
            ["row doubled"],
            [column],
        ]


def _as_built(row: dict) -> dict:
    """An expected row as a warehouse would give it."""
    plain = {
        c: (v.values[0] if v.values else None) if hasattr(v, "values") and not isinstance(v, dict) else v
        for c, v in row.items()
    }
    return {
        c: list(v) if isinstance(v, set) else json.dumps(v) if isinstance(v, dict) else v
        for c, v in plain.items()
    }


MOMENT = datetime(2026, 5, 1, 12)


def _evaluations(*flags: dict | None) -> History:
    """One evaluation a minute of one identity, each with one flag or none."""
    return History([
        Landed(
            *(str(n), "e", MOMENT + timedelta(minutes=n), MOMENT + timedelta(hours=1), str(n), True, "utf-8"),
            json.dumps({"identity": "ann", "flags": [flag] if flag else [], "segments": None}),
        )
        for n, flag in enumerate(flags)
    ])  # fmt: skip


def _flag(enabled: bool = True, type: str = "MULTIVARIATE", **rest) -> dict:
    return {"enabled": enabled, "feature": {"id": 1, "name": "f", "type": type}, **rest}


@pytest.mark.parametrize(
    ("flag", "variation"),
    [
        (_flag(enabled=False, feature_state_value="a", percentage_allocation=30.0), "off"),
        (_flag(feature_state_value="a", percentage_allocation=30.0), "a"),
        (_flag(feature_state_value=None, percentage_allocation=30.0), "control"),
        (_flag(feature_state_value="c", percentage_allocation=None), "control"),
        (_flag(feature_state_value="c", percentage_allocation=None, identity=7), "control"),
        (_flag(feature_state_value=None), "control"),
        (_flag(feature_state_value=""), ""),
        (_flag(feature_state_value=0), "0"),
        (_flag(feature_state_value=False), "false"),
        (_flag(type="STANDARD", feature_state_value=None), "on"),
        (_flag(type="STANDARD", feature_state_value="c", percentage_allocation=None), "c"),
        (_flag(type="STANDARD", feature_state_value=42), "42"),
    ],
)
def test_judge__each_line_of_the_contract__gives_its_variation(flag, variation):
    (row,) = expected(_evaluations(flag), [], [])["fct_flag_exposures"]
    assert row["variation"] == variation


def test_judge__flag_absent_between_two_sightings__its_spell_goes_on():
    flag = _flag(feature_state_value="a", percentage_allocation=30.0)
    (row,) = expected(_evaluations(flag, None, flag), [], [])["fct_flag_assignments"]
    assert (row["evaluation_count"], row["is_current"], row["change_reason"]) == (2, True, "first_seen")
