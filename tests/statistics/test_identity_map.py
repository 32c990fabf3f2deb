"""Several identities of one person: assigned once, by the first evaluation, with the outcomes of all of them."""

import json
import shutil

import pytest

from tests.operations.conftest import environ_of, invoke

from .experiments import (
    ExperimentWarehouse,
    at,
    clock,
    delivery_of,
    evaluation,
    event,
    experiment,
    link,
    metric,
    state,
)

BLUE = ("blue", 50.0)


def with_plan(identity: str, hours: float, plan: str):
    return delivery_of(
        identity, hours, [state("control")], traits=[{"trait_key": "plan", "trait_value": plan}]
    )


# An identity is called a… before login and k… after it; each person is u….
WEBHOOKS = [
    # u1 has one variation, and plans that differ.
    with_plan("a1", 1, "free"),
    with_plan("k1", 5, "paid"),
    # u2 falls into both.
    evaluation("a2", 1),
    evaluation("k2", 5, *BLUE),
    # u3 and u4 are moved: by an override of the first identity, and of the second one, which had agreed until then.
    evaluation("a3", 1, *BLUE),
    evaluation("k3", 2, *BLUE),
    evaluation("a3", 4, "control", reason="identity_override"),
    evaluation("a4", 1),
    evaluation("k4", 2),
    evaluation("k4", 3, *BLUE, reason="identity_override"),
    # Both of u5 in the same microsecond: the greatest delivery_id counts.
    evaluation("a5", 1, delivery_id="z"),
    evaluation("k5", 1, *BLUE, delivery_id="y"),
    # k6 had the other variation already, outside the experiment.
    evaluation("k6", 0.5, *BLUE, reason="identity_override"),
    evaluation("a6", 1),
    evaluation("k6", 2, *BLUE),
    # u7 is what Flagsmith calls the person after login, too.
    evaluation("a7", 1, *BLUE),
    evaluation("u7", 4, *BLUE),
    # Testers: one by an identity, one by the user_id, one elsewhere only.
    evaluation("tester", 1),
    evaluation("a8", 1),
    evaluation("a9", 1),
    evaluation("a10", 1),
    evaluation("nobody's", 1, *BLUE),
    clock(24),
]
MAP = [(f"{kind}{i}", f"u{i}") for i in range(1, 11) for kind in "ak" if f"{kind}{i}" != "k7"] + [
    ("tester", "u8")
]
EVENTS = [
    *[event("a1", "spent", 2, 1.0), event("u1", "spent", 3, 2.0), event("k1", "spent", 6, 4.0)],
    *[event("k2", "spent", 0.5, 16.0), event("u2", "spent", 6, 8.0)],
    *[event("a7", "spent", 5, 64.0), event("nobody's", "spent", 5, 32.0)],
    *[event("tester", "spent", 5, 1e6), event("u8", "spent", 5, 1e6), event("u9", "spent", 5, 1e6)],
    event("a1", "spent", 0.1, 128.0),  # before the person's first evaluation
]


def given(directory, mapped: list[tuple[str, str]] | None) -> ExperimentWarehouse:
    warehouse = ExperimentWarehouse(directory)
    warehouse.land(WEBHOOKS)
    warehouse.give("experiments", [experiment("shop", breakdowns="trait:plan")])
    warehouse.give(
        "metrics",
        [
            metric("spent", aggregation="sum"),
            metric("before", event_name="spent", aggregation="sum", before_days=1),
        ],
    )
    warehouse.give("experiment_metrics", [link("shop", "spent"), link("shop", "before", "secondary")])
    warehouse.give("conversion_events", EVENTS)
    warehouse.give(
        "test_identities",
        [{"identity": "tester"}, {"identity": "u9"}, {"identity": "a10", "environment": "staging"}],
    )
    if mapped is not None:
        map_to(warehouse, mapped)
    return warehouse


def map_to(warehouse: ExperimentWarehouse, mapped: list[tuple[str, str]]) -> None:
    warehouse.give("identity_map", [{"identity": identity, "user_id": user} for identity, user in mapped])


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    warehouse = given(tmp_path_factory.mktemp("identity_map"), MAP)
    warehouse.run()
    return warehouse


def assigned(warehouse: ExperimentWarehouse) -> dict[str, tuple]:
    return {
        row["identity"]: (row["variation"], row["quarantine_reason"])
        for row in warehouse.mart("fct_experiment_assignments")
    }


def results(
    warehouse: ExperimentWarehouse, mart="fct_experiment_results", **where
) -> dict[str, tuple[int, float]]:
    rows = [row for row in warehouse.mart(mart) if all(row[name] == value for name, value in where.items())]
    assert len(rows) == len({row["variation"] for row in rows})
    return {row["variation"]: (row["identities"], row["mean"]) for row in rows}


def test_assignments__several_identities_of_a_person__one_row_by_the_first_evaluation(warehouse):
    assert assigned(warehouse) == {
        "u1": ("control", None),
        "u2": ("control", "other_identity"),
        "u3": ("blue", "identity_override_added"),
        "u4": ("control", "identity_override_added"),
        "u5": ("control", None),
        "u6": ("control", "other_identity"),
        "u7": ("blue", None),
        "u10": ("control", None),
        "nobody's": ("blue", None),
    }


def test_results__outcomes_of_whichever_identity__are_the_persons(warehouse):
    """Given 1 + 2 + 4 of u1 and 8 of u2 among six people in control; 64 of u7 and 32 among three in blue."""
    found = results(warehouse, metric_key="spent", population="assigned")
    assert found == {"control": (6, (7 + 8) / 6), "blue": (3, (64 + 32) / 3)}
    assert results(warehouse, metric_key="spent", population="undisturbed") == {
        "control": (3, 7 / 3),
        "blue": (2, (64 + 32) / 2),
    }


def test_covariate__outcomes_before_the_persons_first_evaluation__of_whichever_identity(warehouse):
    before = warehouse.query(
        """
        select identity, before_sum from intermediate.int_experiment_outcomes_before
        inner join intermediate.int_experiment_assignments using (identity_number) order by identity
        """
    )
    assert [tuple(row.values()) for row in before] == [("u1", 128.0), ("u2", 16.0)]


def test_breakdown__plans_that_differ__that_of_the_identity_evaluated_first(warehouse):
    found = results(
        warehouse,
        "fct_experiment_results_by",
        metric_key="spent",
        population="assigned",
        dimension_value="free",
    )
    assert found == {"control": (1, 7.0), "blue": (0, None)}


def test_health__people_in_both_variations__are_counted_in_words(warehouse):
    (row,) = [
        row
        for row in warehouse.mart("fct_experiment_health")
        if row["check_name"] == "people_in_several_variations"
    ]
    assert (row["status"], row["value"], row["spoils_results"]) == ("warn", pytest.approx(2 / 9), False)
    assert row["message"].startswith("2 of 9 people have identities that were given different variations")


def marts(warehouse: ExperimentWarehouse) -> dict:
    return {
        name: sorted(map(str, warehouse.mart(name)))
        for name in (
            "fct_experiment_assignments",
            "fct_experiment_results",
            "fct_experiment_health",
            "fct_experiment_outcomes",
        )
    }


def test_map__grows_and_goes__equals_a_warehouse_that_was_always_so(warehouse, tmp_path):
    """Given first no map, then one, then an empty one; then only the second build differs, and equals that of the whole map."""
    grown = given(tmp_path, None)
    grown.run()
    without = marts(grown)
    assert {"a1", "k1", "a2", "k2"} < assigned(grown).keys()
    map_to(grown, MAP)
    grown.run()
    assert marts(grown) == marts(warehouse) != without
    map_to(grown, [])
    grown.run()
    assert marts(grown) == without


def test_erase__an_identity_and_a_user_id__reach_the_person_and_all_identities_of_the_user(
    warehouse, tmp_path
):
    """Given a1 and u2 erased; then u1 is known by k1 alone, and nothing is left of a2 and k2."""
    left = ExperimentWarehouse(tmp_path / "left")
    shutil.copytree(warehouse.directory, left.directory, dirs_exist_ok=True)
    left.given, environ = warehouse.given, environ_of(left.directory)
    # u7 is a user_id of a7, and an identity of its own.
    of_a7 = json.loads(invoke(environ, "erase", "--dry-run", "--identity", "a7").stdout)["rows_to_delete"]
    assert (of_a7["landing.webhooks"], of_a7["intermediate.int_deliveries"]) == (1, 1)
    for name in ("a1", "u2"):
        ran = invoke(environ, "erase", "--identity", name)
        assert ran.exit_code == 0, ran.output
        assert "identity_map" in ran.output  # among the relations that only its owner can correct
    assert {"u1", "u2"}.isdisjoint(assigned(left)) and "u3" in assigned(left)
    kept = "select distinct body ->> 'identity' as identity from landing.webhooks"
    identities = {row["identity"] for row in left.query(kept)}
    assert identities.isdisjoint({"a1", "a2", "k2"}) and {"k1", "a3"} < identities
    left.run()
    first = "select first_exposed_at from marts.fct_experiment_assignments where identity = 'u1'"
    assert left.query(first) == [{"first_exposed_at": at(5)}]
    assert "u2" not in assigned(left)
