"""Results of a part of the identities, or of a part of their time: curves since exposure, and breakdowns."""

import math
from collections import defaultdict
from datetime import datetime, timedelta

import numpy as np
import pytest
from scipy import stats

from .experiments import ExperimentWarehouse, at, clock, delivery_of, event, experiment, link, metric, state

CHANGE, END, CLOCK = at(24 * 4), at(24 * 7.5), at(24 * 9.5)
ALPHA = 0.1
# Weights that change in the middle; a declared end; and one epoch, still running.
EXPERIMENTS = {
    "changed": experiment("changed", alpha=ALPHA, activation_event="open"),
    "ended": experiment("ended", alpha=ALPHA, expected_weights="control=1;blue=1", ended_at=END),
    "running": experiment("running", alpha=ALPHA, expected_weights="control=1;blue=1"),
}
METRICS = {
    "spent": metric("spent", aggregation="sum", before_days=2),
    "bought": metric("bought", event_name="spent", conversion_window_hours=60),
    "share": metric(
        "share",
        event_name="spent",
        aggregation="ratio",
        numerator_aggregation="sum",
        denominator_event_name="visit",
    ),
}


class Person:
    def __init__(self, number: int, drawn: np.random.Generator):
        self.name = f"person-{number}"
        self.hours = float(drawn.integers(0, 24 * 8 * 60) / 60)
        self.is_late = at(self.hours) >= CHANGE
        self.variation = "blue" if drawn.random() < (0.3 if self.is_late else 0.5) else "control"
        lift = 3 if self.variation == "blue" else 0
        times = sorted(self.hours + h for h in drawn.uniform(-48, 24 * 6, drawn.integers(0, 7)))
        self.events = [
            (
                "spent" if i % 2 else "visit",
                at(h),
                round(float(drawn.uniform(1, 9)) + lift * (h > self.hours), 2),
            )
            for i, h in enumerate(times)
        ]
        if drawn.random() < 0.6:
            self.events.append(("open", at(self.hours + 24 * drawn.random() * 3), 1.0))
        # Given the other variation after the change of weights.
        self.moved_at = 24 * 8.9 if drawn.random() < 0.2 and not self.is_late else None

    @property
    def exposed_at(self) -> datetime:
        return at(self.hours)


DRAWN = np.random.default_rng(4474)
PEOPLE = [Person(number, DRAWN) for number in range(160)]


def seen(person: Person, hours: float, variation: str):
    weight = 30.0 if at(hours) >= CHANGE else 50.0
    return delivery_of(person.name, hours, [state(variation, weight if variation == "blue" else None)])


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    warehouse = ExperimentWarehouse(tmp_path_factory.mktemp("slices"))
    other = {"blue": "control", "control": "blue"}
    warehouse.land(
        [seen(person, person.hours, person.variation) for person in PEOPLE]
        + [seen(person, person.moved_at, other[person.variation]) for person in PEOPLE if person.moved_at]
        + [clock(24 * 9.5)]
    )
    warehouse.give("experiments", list(EXPERIMENTS.values()))
    warehouse.give("metrics", list(METRICS.values()))
    warehouse.give("experiment_metrics", [link(key, name) for key in EXPERIMENTS for name in METRICS])
    warehouse.give(
        "conversion_events",
        [
            event(person.name, name, 0, value) | {"occurred_at": moment}
            for person in PEOPLE
            for name, moment, value in person.events
        ],
    )
    warehouse.run("run", "--select", "+fct_experiment_curves")
    return warehouse


def epoch_of(key: str, person: Person) -> int:
    return 2 if key == "changed" and person.is_late else 1


def counted_until(key: str, population: str, person: Person) -> datetime:
    if population == "until_change" and epoch_of(key, person) == 1 and key == "changed":
        first_late = min(p.exposed_at for p in PEOPLE if p.is_late and p.variation == "blue")
        return min(first_late, CLOCK)
    return min(END, CLOCK) if key == "ended" else CLOCK


def is_counted(key: str, population: str, person: Person, until: datetime) -> bool:
    if population == "undisturbed":
        return person.moved_at is None or (key == "ended" and at(person.moved_at) >= END)
    if population == "activated":
        activated = [
            m for name, m, _ in person.events if name == "open" and m >= person.exposed_at and m <= CLOCK
        ]
        return bool(activated) and min(activated) < until
    return True


def values(name: str, person: Person, until: datetime) -> tuple[float, float, float]:
    """Outcome, denominator and what was before, of events until then."""
    begin = person.exposed_at
    window = METRICS[name].get("conversion_window_hours")
    until = min(until, begin + timedelta(hours=window)) if window else until
    after = [(n, v) for n, m, v in person.events if begin <= m < until]
    spent = [v for n, v in after if n == "spent"]
    before = [v for n, m, v in person.events if n == "spent" and begin - timedelta(days=2) <= m < begin]
    outcome = float(bool(spent)) if name == "bought" else sum(spent)
    return outcome, float(sum(n == "visit" for n, _ in after)), sum(before) if name == "spent" else 0.0


def spread(name: str, outcomes: np.ndarray) -> float:
    return outcomes.mean() * (1 - outcomes.mean()) if name == "bought" else outcomes.var(ddof=1)


def compared(name: str, strata: dict) -> dict | None:
    """The comparison of {epoch: {variation: rows of values}}, stratified; None where an arm has too few or all the same."""
    both = {e: arms for e, arms in strata.items() if all(len(arms[v]) > 1 for v in ("control", "blue"))}
    if not both:
        return None
    total = sum(len(arms[v]) for arms in both.values() for v in arms)
    parts = defaultdict(list)
    for arms in both.values():
        weight = sum(len(rows) for rows in arms.values()) / total
        for variation, rows in arms.items():
            parts[variation].append((weight, np.array(rows)))
    mean, error, freedom = {}, {}, {}
    for variation, weighted in parts.items():
        mean[variation] = sum(w * y[:, 0].mean() for w, y in weighted)
        terms = [(w * w * spread(name, y[:, 0]) / len(y), len(y) - 1) for w, y in weighted]
        if not any(t for t, _ in terms):
            return None
        freedom[variation] = sum(t for t, _ in terms) ** 2 / sum(t * t / n for t, n in terms)
        if name == "share":
            below = sum(w * y[:, 1].mean() for w, y in weighted)
            mean[variation] /= below
            terms = [
                (w * w * ((y[:, 0] - mean[variation] * y[:, 1]) / below).var(ddof=1) / len(y), 0)
                for w, y in weighted
            ]
        error[variation] = sum(t for t, _ in terms)
    a, b = mean["control"], mean["blue"]
    lift = b / a - 1
    squared = error["blue"] / a**2 + error["control"] * b**2 / a**4
    nu = sum(error.values()) ** 2 / sum(error[v] ** 2 / freedom[v] for v in error)
    return {
        "mean": b,
        "control_mean": a,
        "absolute_lift": b - a,
        "relative_lift": lift,
        "relative_standard_error": math.sqrt(squared),
        "relative_p_value": 2 * stats.t.sf(abs(lift) / math.sqrt(squared), nu),
        "relative_high": lift + stats.t.ppf(1 - ALPHA / 2, nu) * math.sqrt(squared),
    }


def differences(row: dict, expected: dict) -> dict:
    return {
        name: (row[name], value)
        for name, value in expected.items()
        if row[name] is None or not math.isclose(row[name], value, rel_tol=1e-9, abs_tol=1e-12)
    }


@pytest.mark.parametrize("population", ["assigned", "until_change", "undisturbed", "activated"])
@pytest.mark.parametrize("key", EXPERIMENTS)
def test_curves__every_day_since_exposure__as_counted_identity_by_identity(warehouse, key, population):
    """Given identities exposed on every day, weights that change and a declared end; then a day counts only whom it is over for,
    before the last webhook and before what the population counts ends."""
    rows = {
        (row["metric_key"], row["days_since_exposure"]): row
        for row in warehouse.query(
            "select * from marts.fct_experiment_curves where experiment_key = ? and population = ? and variation = 'blue'",
            key,
            population,
        )
    }
    if population == "activated" and key != "changed":
        assert not rows  # no event of activation is declared
        return
    counted = [p for p in PEOPLE if key != "ended" or p.exposed_at < END]
    expected, wrong = set(), {}
    for day in range(12):
        strata = defaultdict(lambda: {"control": [], "blue": []})
        is_any = False
        for person in counted:
            over = datetime.combine(person.exposed_at.date(), datetime.min.time()) + timedelta(days=day + 1)
            if over.date() > counted_until(key, population, person).date():
                continue
            is_any = True
            if is_counted(key, population, person, over):
                strata[epoch_of(key, person)][person.variation].append((person, over))
        expected |= {
            (name, day) for name in METRICS if is_any and any(a for s in strata.values() for a in s.values())
        }
        for name in METRICS:
            if (name, day) not in expected:
                continue
            row = rows[name, day]
            sizes = {v: sum(len(s[v]) for s in strata.values()) for v in ("blue", "control")}
            assert (row["identities"], row["control_identities"]) == tuple(sizes.values())
            of_values = {
                e: {v: [values(name, p, over) for p, over in people] for v, people in s.items()}
                for e, s in strata.items()
            }
            result = compared(name, of_values)
            assert (row["status"] == "ok") == bool(result), (name, day)
            if result:
                wrong |= {(name, day, k): v for k, v in differences(row, result).items()}
    assert not wrong
    assert {k for k, row in rows.items() if row["identities"] or row["control_identities"]} == expected
    assert len(expected) > 9
