"""Intervals cover the truth of people who differ in activity, some of whom return after the weights have changed."""

from dataclasses import dataclass

import numpy as np
import pytest

from .experiments import ExperimentWarehouse, clock, delivery_of, event, experiment, link, metric, state

EXPERIMENTS = 20  # of each kind, all on the same people: each webhook carries every flag
EARLY, LATE = 400, 200
CHANGE, SALE = 48, 2.0  # hours; spending doubles with the change
BEFORE, AFTER = 0.5, 0.2  # blue's share
LIFT = 0.2
ACTIVE, IDLE = 5.0, 1.0  # what they spend; half are active, and only these return


@dataclass
class Person:
    name: str
    is_early: bool
    is_active: bool


PEOPLE = [Person(f"early-{i}", True, i % 2 == 0) for i in range(EARLY)] + [
    Person(f"late-{i}", False, i % 2 == 0) for i in range(LATE)
]


def truths() -> dict[tuple[str, str], float]:
    """The lift that each population claims, from the expected spending of those first given an arm."""
    stays = AFTER / BEFORE
    early = {
        "control": (IDLE + ACTIVE + ACTIVE * SALE) / 2,
        "blue": (1 + LIFT) * (IDLE + ACTIVE) / 2 + ACTIVE * SALE * (1 + LIFT * stays) / 2,
    }
    late = {"control": SALE * (IDLE + ACTIVE) / 2, "blue": (1 + LIFT) * SALE * (IDLE + ACTIVE) / 2}
    mean = {arm: (EARLY * early[arm] + LATE * late[arm]) / (EARLY + LATE) for arm in early}
    to_treat = mean["blue"] / mean["control"] - 1
    return {
        ("moved", "assigned"): to_treat,
        ("moved", "until_change"): LIFT,
        ("moved", "undisturbed"): LIFT,
        ("steady", "assigned"): LIFT,
        ("steady", "until_change"): LIFT,
        ("steady", "undisturbed"): LIFT,
    }


def simulated() -> tuple[list, list]:
    """Webhooks and outcomes. Feature `moved-k` loses weight at the change, `steady-k` does not."""
    dice = np.random.default_rng(1616)
    features = [f"{kind}-{k}" for kind in ("moved", "steady") for k in range(EXPERIMENTS)]
    buckets = dice.random((len(PEOPLE), len(features)))
    shares = {
        "before": np.full(len(features), BEFORE),
        "after": np.array([AFTER if name.startswith("moved") else BEFORE for name in features]),
    }
    webhooks, events = [], []
    for person, bucket in zip(PEOPLE, buckets, strict=True):
        visits = [("before", 1.0)] if person.is_early else []
        visits += [("after", CHANGE + 1.0)] if person.is_active or not person.is_early else []
        for when, hours in visits:
            is_blue = bucket < shares[when]
            flags = [
                state(
                    *(("blue", 100 * share) if blue else ("control", None)), feature=name, feature_id=number
                )
                for number, (name, blue, share) in enumerate(
                    zip(features, is_blue, shares[when], strict=True), 1
                )
            ]
            webhooks.append(delivery_of(person.name, hours, flags))
            usual = (ACTIVE if person.is_active else IDLE) * (SALE if when == "after" else 1)
            spent = usual * (1 + LIFT * is_blue) * dice.gamma(4, 0.25, len(features))
            events += [
                event(person.name, name, hours + 1, value)
                for name, value in zip(features, spent, strict=True)
            ]
    return webhooks, events


@pytest.fixture(scope="module")
def lifts(tmp_path_factory):
    """Lift and interval of each experiment, by kind and population."""
    warehouse = ExperimentWarehouse(tmp_path_factory.mktemp("coverage"))
    webhooks, events = simulated()
    warehouse.land([*webhooks, clock(96)])
    names = sorted({one["event_name"] for one in events})
    warehouse.give("experiments", [experiment(name, feature_name=name) for name in names])
    warehouse.give("metrics", [metric(name, aggregation="sum") for name in names])
    warehouse.give("experiment_metrics", [link(name, name) for name in names])
    warehouse.give("conversion_events", events)
    warehouse.run()
    found = {}
    for row in warehouse.query(
        "select * from marts.fct_experiment_results where variation = 'blue' order by all"
    ):
        kind = row["experiment_key"].split("-")[0]
        figures = (row["relative_lift"], row["relative_low"], row["relative_high"])
        found.setdefault((kind, row["population"]), []).append(figures)
    return found


def covered(lifts: dict, kind: str, population: str) -> int:
    truth = truths()[kind, population]
    return sum(low < truth < high for _, low, high in lifts[kind, population])


@pytest.mark.parametrize("population", ["assigned", "until_change"])
def test_coverage__weights_changed__assigned_and_until_change_cover_the_truth(lifts, population):
    assert covered(lifts, "moved", population) >= 0.9 * EXPERIMENTS
    mean = np.mean([lift for lift, _, _ in lifts["moved", population]])
    assert abs(mean - truths()["moved", population]) < 0.06


def test_coverage__weights_changed__undisturbed_misses_it(lifts):
    """Given movers of whom only the active are found; then blue keeps its idle people, and seems to lose."""
    assert covered(lifts, "moved", "undisturbed") <= 0.25 * EXPERIMENTS
    assert np.mean([lift for lift, _, _ in lifts["moved", "undisturbed"]]) < 0


def test_coverage__weights_unchanged__all_populations_agree_and_cover_it(lifts):
    assert lifts["steady", "assigned"] == lifts["steady", "until_change"] == lifts["steady", "undisturbed"]
    assert covered(lifts, "steady", "assigned") >= 0.9 * EXPERIMENTS
