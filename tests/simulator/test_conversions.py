"""Outcomes have the lift that was declared."""

import io
from collections import defaultdict
from functools import cache

import pytest

from flagsmith_warehouse.simulator.conversions import Conversion, Effect, conversions, first_exposures, write
from flagsmith_warehouse.simulator.parameters import Parameters
from flagsmith_warehouse.simulator.world import World

EFFECT = Effect(lifts={"variant_a": 0.0, "variant_b": 1.0}, rate=0.3)
WORLD = World(
    Parameters(deliveries=12_000, identities=12_000, features=1, calls_per_state=1, environments=("example",))
)


@cache
def exposures() -> dict[str, tuple]:
    return {exposure.identity: exposure for exposure in first_exposures(WORLD, "checkout_button")}


@cache
def events() -> list[Conversion]:
    return conversions(WORLD, EFFECT)


def rate(event_name: str) -> dict[str, float]:
    """Events per identity after the first exposure, by arm."""
    counts, identities = defaultdict(int), defaultdict(int)
    for exposure in exposures().values():
        identities[exposure.arm] += 1
    for event in events():
        exposure = exposures()[event.identity]
        if event.event_name == event_name and event.occurred_at > exposure.first_exposed_at:
            counts[exposure.arm] += 1
    return {arm: counts[arm] / identities[arm] for arm in identities}


def test_conversions__purchases__have_the_declared_lift_within_four_standard_errors():
    rates = rate("purchase")
    assert rates["control"] == pytest.approx(0.3, abs=4 * (0.21 / 3_000) ** 0.5)
    assert rates["variant_a"] == pytest.approx(0.3, abs=4 * (0.21 / 2_000) ** 0.5)
    assert rates["variant_b"] == pytest.approx(0.6, abs=4 * (0.24 / 3_000) ** 0.5)


def test_conversions__page_views__do_not_depend_on_the_variation():
    rates = rate("page_view")
    assert all(value == pytest.approx(1.0, abs=0.1) for value in rates.values()), rates


def test_conversions__purchase_values__do_not_depend_on_the_variation():
    values = defaultdict(list)
    for event in events():
        if event.event_name == "purchase":
            values[exposures()[event.identity].arm].append(event.value)
    means = {arm: sum(found) / len(found) for arm, found in values.items()}
    assert all(mean == pytest.approx(40, abs=2.5) for mean in means.values()), means


def test_conversions__purchases__come_after_the_first_exposure_and_page_views_on_both_sides():
    sides = {
        (event.event_name, event.occurred_at > exposures()[event.identity].first_exposed_at)
        for event in events()
    }
    assert sides == {("purchase", True), ("page_view", True), ("page_view", False)}


def test_conversions__same_world__gives_the_same_events_in_time_order():
    again = conversions(WORLD, EFFECT)
    assert again == events()
    assert [event.occurred_at for event in again] == sorted(event.occurred_at for event in again)


@pytest.mark.parametrize("has_sale", [False, True])
def test_conversions__feature_that_nobody_has__is_named(has_sale):
    world = World(Parameters(deliveries=100, identities=10, has_sale=has_sale))
    with pytest.raises(ValueError, match="'no_such_feature'"):
        conversions(world, Effect(feature_name="no_such_feature"))


def test_write__events__are_csv_with_the_columns_of_the_contract():
    file = io.StringIO()
    write(events()[:1], file)
    header, row, end = file.getvalue().split("\n")
    assert header == "identity,event_name,occurred_at,value,environment"
    assert row.startswith(events()[0].identity) and row.endswith(",example") and end == ""
