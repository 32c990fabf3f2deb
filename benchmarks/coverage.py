"""How often the 95 % intervals of each population cover the effect that it claims, on people as they are in real life.

    python -m benchmarks coverage                 1,000 experiments of each kind (about 200 s of processor)
    python -m benchmarks.coverage 200             so many of each kind, rounded up to hundreds

People differ in how often they come; many leave for good. They spend at each visit, more while there is a sale, and more with
the blue button. Half-way, as the sale begins, blue's weight falls from 50 to 20 % (`moved`) or stays (`steady`). Flagsmith then
gives some of blue's people the control. At the end the flag is switched off, and people go on spending. Webhooks and outcomes
run through every model.
"""

import sys
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np

from tests.statistics.experiments import ExperimentWarehouse, clock, experiment, link, metric, state
from tests.statistics.experiments import delivery_of as delivery

EXPERIMENTS = 1_000  # of each kind
AT_ONCE = 100  # of each kind in one warehouse, all on the same people: a webhook carries every flag
PEOPLE = 1_500
DAYS, CHANGE, OFF = 16, 7, 14
SALE = 2.0  # times what is spent
LIFT = 0.2  # of spending with blue
SHARES = {"moved": (0.5, 0.2), "steady": (0.5, 0.5)}  # of blue, before and after the change
POPULATIONS = ("assigned", "until_change", "undisturbed")
TRUTH_PEOPLE = 2_000_000


def main() -> None:
    simulate(int(sys.argv[1]) if sys.argv[1:] and sys.argv[1].isdigit() else EXPERIMENTS)


def simulate(experiments: int) -> None:
    start = time.process_time()
    truths = {kind: truth(kind) for kind in SHARES}
    found = {(kind, population): [] for kind in SHARES for population in POPULATIONS}
    for seed in range(-(-experiments // AT_ONCE)):
        with tempfile.TemporaryDirectory() as directory:
            for kind, population, *interval in build(ExperimentWarehouse(Path(directory)), seed):
                found[kind, population].append(interval)
        print(f"{(seed + 1) * AT_ONCE} experiments of each kind", file=sys.stderr, flush=True)
    print(f"{len(found['moved', 'assigned'])} experiments of {PEOPLE} people each:\n")
    print(
        "| weights | population | its truth | mean lift | 95 % intervals that cover it |\n|---|---|--:|--:|--:|"
    )
    for (kind, population), intervals in found.items():
        lift, low, high = np.array(intervals).T
        claimed = truths[kind] if population == "assigned" else LIFT
        covers = np.mean((low < claimed) & (claimed < high))
        print(f"| {kind} | {population} | {claimed:.1%} | {lift.mean():.1%} | {covers:.1%} |")
    print(f"\n{time.process_time() - start:.0f} s of processor")


def visits(dice: np.random.Generator, people: int) -> tuple[np.ndarray, np.ndarray]:
    """When each person first comes and what they spend as control: before the change, after it, and while the flag is off.

    Arrays of (people, 3); infinite for a period without a visit.
    """
    rate = dice.gamma(1, 0.4, people)  # visits a day: most come seldom, a few every day
    gone = np.where(dice.random(people) < 0.4, dice.uniform(0, DAYS, people), DAYS)  # many leave for good
    periods = [(0, CHANGE), (CHANGE, OFF), (OFF, DAYS)]
    first, spent = np.full((people, 3), np.inf), np.zeros((people, 3))
    for at, (begin, end) in enumerate(periods):
        length = np.clip(gone - begin, 0, end - begin)
        number = dice.poisson(rate * length)
        came = number > 0
        # The first of n moments that are uniform within the period.
        first[came, at] = begin + length[came] * (1 - dice.random(came.sum()) ** (1 / number[came]))
        # Who comes often spends more each time.
        spent[:, at] = number * (1 + rate) * (SALE if begin == CHANGE else 1)
    return first, spent


def truth(kind: str) -> float:
    """The effect of being assigned: what everybody would spend if first given blue, over what they would as control."""
    first, spent = visits(np.random.default_rng(16), TRUTH_PEOPLE)
    before, after = SHARES[kind]
    early = np.isfinite(first[:, 0])
    late = ~early & np.isfinite(first[:, 1])
    keeps = np.where(early, after / before, 1.0)  # of blue's people, those whom the change leaves with blue
    control = spent[:, 0] + spent[:, 1]
    blue = spent[:, 0] * (1 + LIFT) + spent[:, 1] * (1 + LIFT * keeps)
    return blue[early | late].sum() / control[early | late].sum() - 1


def build(warehouse: ExperimentWarehouse, seed: int) -> list[tuple]:
    """Kind, population, lift and interval of each experiment, as the marts say."""
    dice = np.random.default_rng([1608, seed])
    first, spent = visits(dice, PEOPLE)
    names = [f"{kind}-{i}" for kind in SHARES for i in range(AT_ONCE)]
    shares = np.array([[SHARES[kind] for kind in SHARES for _ in range(AT_ONCE)]])
    buckets = dice.random((PEOPLE, len(names), 1))
    is_blue = np.concatenate(
        [buckets < shares, np.zeros_like(buckets, bool)], axis=2
    )  # nobody while it is off
    warehouse.land([*webhooks(first, is_blue, names), clock(24 * DAYS)])
    warehouse.give("experiments", [experiment(name, feature_name=name) for name in names])
    warehouse.give("metrics", [metric(name, aggregation="sum") for name in names])
    warehouse.give("experiment_metrics", [link(name, name) for name in names])
    warehouse.give("conversion_events", [])
    noise = dice.gamma(4, 0.25, is_blue.shape)
    spend(warehouse, first, spent[:, None, :] * (1 + LIFT * is_blue) * noise, names)
    warehouse.run("run", "--select", "+fct_experiment_results")
    rows = warehouse.query(
        "select split_part(experiment_key, '-', 1) as kind, population, relative_lift, relative_low, relative_high"
        " from marts.fct_experiment_results where variation = 'blue' order by all"
    )
    return [tuple(row.values()) for row in rows]


def webhooks(first: np.ndarray, is_blue: np.ndarray, names: list[str]) -> list:
    """The first evaluation of each person in each period. Later ones say the same."""
    rows = []
    for person in range(PEOPLE):
        for period, day in enumerate(first[person]):
            if not np.isfinite(day):
                continue
            flags = [
                state(
                    *option(is_blue[person, number, period], name, period),
                    feature=name,
                    feature_id=number + 1,
                )
                for number, name in enumerate(names)
            ]
            rows.append(delivery(str(person), 24 * day, flags))
    return rows


def option(is_blue: bool, name: str, period: int) -> tuple:
    if period == 2:
        return ("off", None)
    return ("blue", 100 * SHARES[name.split("-")[0]][period]) if is_blue else ("control", None)


def spend(warehouse: ExperimentWarehouse, first: np.ndarray, values: np.ndarray, names: list[str]) -> None:
    """One outcome for each person, experiment and period with a visit: what they spent in it, at their first visit."""
    person, number, period = np.nonzero(
        np.isfinite(first)[:, None, :] & np.ones(len(names), bool)[None, :, None]
    )
    frame = {
        "person": person,
        "number": number,
        "hours": 24 * first[person, period],
        "value": values[person, number, period],
    }
    with duckdb.connect(warehouse.path) as connection:
        connection.register("frame", frame)
        connection.execute(
            "insert into given.conversion_events select null, cast(person as varchar), ($names)[number + 1],"
            " timestamp '2026-01-01' + to_microseconds(cast(hours * 3600000000 as bigint) + 1), value from frame",
            {"names": names},
        )


if __name__ == "__main__":
    main()
