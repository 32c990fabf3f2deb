"""The world with a sale: people as they are in real life, and results that cover the lifts that are true of them."""

from collections import Counter, defaultdict
from datetime import timedelta
from functools import cache
from itertools import pairwise
from statistics import mean

import pytest

from flagsmith_warehouse.simulator import landing, truth
from flagsmith_warehouse.simulator.conversions import Conversion, Effect, conversions
from flagsmith_warehouse.simulator.messages import Evaluation
from flagsmith_warehouse.simulator.parameters import Parameters
from flagsmith_warehouse.simulator.world import World
from tests.statistics.experiments import ExperimentWarehouse, experiment, link, metric

EFFECT = Effect(lifts={"variant_a": 0.0, "variant_b": 1.0, "variant_c": -0.2}, rate=0.5)
PARAMETERS = Parameters(
    deliveries=20_000, identities=4_000, features=1, calls_per_state=1, transient=0, has_sale=True, seed=6
)
WORLD = World(PARAMETERS)
CHANGED_AT = PARAMETERS.starts_at + 0.45 * PARAMETERS.span
OFF_AT = PARAMETERS.starts_at + 0.90 * PARAMETERS.span


@cache
def evaluations() -> list[Evaluation]:
    return list(WORLD.evaluations())


@cache
def purchases_and_views() -> list[Conversion]:
    return conversions(WORLD, EFFECT)


@cache
def visits() -> dict[str, list]:
    """The times of the visits of each identity."""
    found = defaultdict(list)
    for one in evaluations():
        found[one.state.identity].append(one.received_at)
    return found


@cache
def true_lifts() -> list[dict]:
    return truth.lifts(evaluations(), EFFECT, PARAMETERS)


def test_sale__identities__are_as_many_as_asked_for():
    assert len(visits()) == PARAMETERS.identities


def test_sale__activity__differs_so_that_a_tenth_makes_a_third_of_the_visits():
    numbers = sorted(map(len, visits().values()), reverse=True)
    assert sum(numbers[: len(numbers) // 10]) > len(evaluations()) / 3
    assert sum(number == 1 for number in numbers) > len(numbers) / 5


def test_sale__active_identities__have_often_left_for_good():
    """Given those who came eight times in the first half; then a third or more are not seen in the last quarter."""
    half = PARAMETERS.starts_at + PARAMETERS.span / 2
    last_quarter = PARAMETERS.starts_at + PARAMETERS.span * 3 / 4
    active = [times for times in visits().values() if sum(at < half for at in times) >= 8]
    assert 1 / 3 < sum(times[-1] < last_quarter for times in active) / len(active) < 1 / 2


def test_sale__some_identities__return_after_weeks():
    """Given those who come back at all, then more than one in twenty stays away for two weeks in between."""
    returning = [times for times in visits().values() if len(times) > 1]
    longest = [max(later - earlier for earlier, later in pairwise(times)) for times in returning]
    assert sum(gap > timedelta(days=14) for gap in longest) > len(returning) / 20


def test_sale__checkout_button__changes_weights_as_it_begins_and_is_off_at_the_end():
    weights = defaultdict(set)
    for at, _, state in evaluations():
        period = "before" if at < CHANGED_AT else "sale" if at < OFF_AT else "end"
        weights[period].add((state.flags[0].enabled, state.flags[0].setting.weights))
    assert weights == {
        "before": {(True, (30.0, 30.0, 10.0))},
        "sale": {(True, (10.0, 50.0, 10.0))},
        "end": {(False, (10.0, 50.0, 10.0))},
    }


def test_sale__purchases__are_of_twice_the_amount_once_it_has_begun():
    amounts = defaultdict(list)
    for event in purchases_and_views():
        if event.event_name == "purchase":
            amounts[event.occurred_at > CHANGED_AT].append(event.value)
    assert mean(amounts[False]) == pytest.approx(40, abs=1)
    assert mean(amounts[True]) == pytest.approx(80, abs=1)


def test_sale__purchases__depend_on_the_variation_of_the_same_visit():
    """Given those whom the change of weights moved; then they buy as their new variation has it."""
    seen, bought = defaultdict(Counter), defaultdict(Counter)
    variations = {}
    first = {}
    for at, _, state in evaluations():
        variations[state.identity, at.replace(microsecond=0)] = state.flags[0].variation
        first.setdefault(state.identity, state.flags[0].variation)
        seen[first[state.identity]][state.flags[0].variation] += 1
    for event in purchases_and_views():
        if event.event_name == "purchase":
            variation = variations[event.identity, event.occurred_at - timedelta(seconds=1)]
            bought[first[event.identity]][variation] += 1
    rates = {key: bought["variant_a"][key] / number for key, number in seen["variant_a"].items()}
    expected = {"variant_a": 0.5, "variant_b": 1.0, "off": 0.5}
    assert rates == {key: pytest.approx(rate, abs=0.04) for key, rate in expected.items()}


def test_lifts__weights_stay__are_the_planted_ones_of_both_populations():
    steady = World(Parameters(deliveries=500, identities=60, has_sale=True, is_changing=False))
    assert truth.lifts(steady.evaluations(), EFFECT, steady.parameters) == [
        {"variation": name, "assigned": pytest.approx(lift), "until_change": lift}
        for name, lift in EFFECT.lifts.items()
    ]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[tuple, dict]:
    """The results of the experiment, by metric, population and variation; intervals of 99 %."""
    warehouse = ExperimentWarehouse(tmp_path_factory.mktemp("sale"))
    landing.append(warehouse.path, [*evaluations(), *WORLD.flag_changes()])
    warehouse.give("conversion_events", [event._asdict() for event in purchases_and_views()])
    declared = experiment("sale", feature_name="checkout_button", started_at="2026-09-01", alpha=0.01)
    warehouse.give("experiments", [declared])
    warehouse.give(
        "metrics", [metric("purchase", aggregation="sum"), metric("page_view", aggregation="count")]
    )
    warehouse.give("experiment_metrics", [link("sale", "purchase"), link("sale", "page_view", "guardrail")])
    warehouse.run("run", "--select", "+fct_experiment_results", "+dim_experiments")
    rows = warehouse.query("select * from marts.fct_experiment_results order by all")
    [end] = warehouse.query("select ended_at, end_reason, ended_by from marts.dim_experiments")
    assert (end["end_reason"], end["ended_by"]) == ("switched_off", "admin@example.com")
    assert timedelta(0) <= end["ended_at"] - OFF_AT < timedelta(hours=1)
    return {(row["metric_key"], row["population"], row["variation"]): row for row in rows}


def holds(row: dict, lift: float) -> bool:
    return row["relative_low"] < lift < row["relative_high"]


@pytest.mark.parametrize("population", ["assigned", "until_change"])
def test_results__of_a_sale__hold_the_true_lifts(results, population):
    for row in true_lifts():
        assert holds(results["purchase", population, row["variation"]], row[population]), row
        assert holds(results["page_view", population, row["variation"]], 0), row


def test_results__effect_of_being_assigned__is_not_the_planted_one(results):
    """Given people of variant_a, without effect, who were moved to variant_b, which doubles what they buy."""
    [row] = [row for row in true_lifts() if row["variation"] == "variant_a"]
    assert row["until_change"] == 0 and row["assigned"] > 0.1
    assert not holds(results["purchase", "assigned", "variant_a"], 0)
    assert not holds(results["purchase", "until_change", "variant_a"], row["assigned"])


def test_results__undisturbed__is_far_from_both(results):
    """Given those who were moved and came back, the active ones, left out; then variant_a seems to lose."""
    for metric_key in ("purchase", "page_view"):
        row = results[metric_key, "undisturbed", "variant_a"]
        assert row["relative_high"] < 0, row
