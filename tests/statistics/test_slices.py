"""Results of a part of the identities, or of a part of their time: curves since exposure, and breakdowns."""

import math
from collections import Counter, defaultdict
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
    "ended": experiment("ended", alpha=ALPHA, feature_name="steady", ended_at=END),
    "running": experiment(
        "running",
        alpha=ALPHA,
        feature_name="steady",
        breakdowns="trait:plan; segment:vip;cohort:grown;trait:town;",
    ),
}
EXPERIMENTS["changed"]["breakdowns"] = "trait:plan"
GROWN = {
    "type": "ALL",
    "rules": [
        {"type": "ALL", "conditions": [{"property": "age", "operator": "GREATER_THAN", "value": "17"}]}
    ],
}
PLANS = ("free", "pro", None)
# Two towns, one of the most frequent and one of the others, have names that the breakdown gives to groups.
GROUPS = ("(none)", "(others)")
TOWNS = [*GROUPS[:1], *(f"town {number:02}" for number in range(1, 13)), *GROUPS[1:]]
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
        self.plan = PLANS[drawn.integers(3)]
        # Few of control in a group of many in blue; elsewhere it is the other way round.
        self.town = TOWNS[int(14 * drawn.random() ** (4 if self.variation == "blue" else 1))]
        self.age = int(drawn.integers(10, 30))
        self.is_vip = bool(drawn.random() < 0.4)
        # Given the other variation after the change of weights.
        self.moved_at = 24 * 8.9 if drawn.random() < 0.2 and not self.is_late else None

    @property
    def exposed_at(self) -> datetime:
        return at(self.hours)


DRAWN = np.random.default_rng(4474)
PEOPLE = [Person(number, DRAWN) for number in range(400)]


def seen(person: Person, hours: float, variation: str, **said):
    """An evaluation of two features: the weights of the second never change."""
    weights = {"checkout": 30.0 if at(hours) >= CHANGE else 50.0, "steady": 50.0}
    flags = [
        state(variation, weight if variation == "blue" else None, feature=feature, feature_id=number)
        for number, (feature, weight) in enumerate(weights.items(), 1)
    ]
    return delivery_of(person.name, hours, flags, **said)


def said_of(person: Person, *, is_later: bool = False) -> dict:
    """The traits and segments that a webhook tells; later all of them are others."""
    traits = {
        "plan": "gone" if is_later else person.plan,
        "town": person.town,
        "age": 5 if is_later else person.age,
    }
    return {
        "traits": [
            {"trait_key": key, "trait_value": value} for key, value in traits.items() if value is not None
        ],
        "segments": [{"id": 4, "name": "vip", "member": person.is_vip != is_later}],
    }


def first_seen(person: Person) -> list:
    """The first evaluation. Every other person's is silent about traits and segments, which an earlier one of another feature told."""
    if int(person.name.split("-")[1]) % 2:
        return [seen(person, person.hours, person.variation, **said_of(person))]
    silent = {"traits": None, "segments": None}
    return [
        delivery_of(
            person.name, person.hours - 30, [state("on", feature="another", feature_id=99)], **said_of(person)
        ),
        seen(person, person.hours, person.variation, **silent),
    ]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    warehouse = ExperimentWarehouse(tmp_path_factory.mktemp("slices"))
    other = {"blue": "control", "control": "blue"}
    warehouse.land(
        [landed for person in PEOPLE for landed in first_seen(person)]
        + [
            seen(person, person.moved_at, other[person.variation], **said_of(person, is_later=True))
            for person in PEOPLE
            if person.moved_at
        ]
        + [delivery_of(person.name, 24 * 9.3, [], **said_of(person, is_later=True)) for person in PEOPLE[::3]]
        + [clock(24 * 9.5)]
    )
    warehouse.settings = {"cohorts": [{"key": "grown", "rules": [GROWN]}]}
    warehouse.give(
        "experiments",
        [
            *EXPERIMENTS.values(),
            experiment("misspelt", breakdowns="plan"),
            experiment("unseen", breakdowns="trait:Plan;cohort:old;segment:vip"),
        ],
    )
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
    warehouse.run(
        "run",
        "--select",
        "+fct_experiment_curves",
        "+fct_experiment_results_by",
        "+experiment_declaration_problems",
    )
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
    """The comparison of {epoch: {variation: rows of values}}, stratified; None where it cannot be made."""
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
            if not below:
                return None
            mean[variation] /= below
            terms = [
                (w * w * ((y[:, 0] - mean[variation] * y[:, 1]) / below).var(ddof=1) / len(y), 0)
                for w, y in weighted
            ]
        error[variation] = sum(t for t, _ in terms)
    a, b = mean["control"], mean["blue"]
    if not a or not all(error.values()):
        return None
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


def broken_down(dimension: str, person: Person) -> str:
    if dimension == "trait:town":
        counts = Counter(p.town for p in PEOPLE if p.town not in GROUPS)
        kept = sorted(counts, key=lambda town: (-counts[town], town))[:10]
        return person.town if person.town in kept else "(others)"
    return {
        "trait:plan": person.plan or "(none)",
        "segment:vip": "true" if person.is_vip else "false",
        "cohort:grown": "true" if person.age > 17 else "false",
    }[dimension]


@pytest.fixture(scope="module")
def broken(warehouse):
    rows = warehouse.query("select * from marts.fct_experiment_results_by where variation = 'blue'")
    return {
        tuple(
            row[k] for k in ("experiment_key", "population", "metric_key", "dimension", "dimension_value")
        ): row
        for row in rows
    }


@pytest.mark.parametrize(
    ("key", "population", "dimension"),
    [
        ("running", population, dimension)
        for population in ("assigned", "undisturbed")
        for dimension in ("trait:plan", "segment:vip", "cohort:grown", "trait:town")
    ]
    + [("changed", population, "trait:plan") for population in ("assigned", "until_change", "activated")],
)
def test_breakdown__of_a_trait_segment_or_cohort__as_counted_identity_by_identity(
    broken, key, population, dimension
):
    """Given traits and segments that were told before the first evaluation and change after it; then those at the first evaluation
    count."""
    wrong = {}
    found = {k[4] for k in broken if k[:2] == (key, population) and k[3] == dimension}
    assert found == {broken_down(dimension, person) for person in PEOPLE}
    for name in METRICS:
        of_dimension, control = [], {}
        window = timedelta(hours=METRICS[name].get("conversion_window_hours") or 0)
        for value in found:
            everybody = Counter()
            strata = defaultdict(lambda: {"control": [], "blue": []})
            for person in PEOPLE:
                if broken_down(dimension, person) == value and is_counted(key, population, person, CLOCK):
                    until = counted_until(key, population, person) if population == "until_change" else CLOCK
                    if population == "until_change" and key == "changed" and not person.is_late:
                        until = min(p.exposed_at for p in PEOPLE if p.is_late and p.variation == "blue")
                    everybody[person.variation] += 1
                    if person.exposed_at + window <= CLOCK:
                        strata[epoch_of(key, person)][person.variation].append(values(name, person, until))
            row = broken[key, population, name, dimension, value]
            assert row["identities"] == everybody["blue"]
            assert row["control_identities"] == everybody["control"]
            assert row["identities_matured"] == sum(len(s["blue"]) for s in strata.values())
            control[value] = sum(len(s["control"]) for s in strata.values())
            result = compared(name, strata)
            assert (row["status"] == "ok") == bool(result), (name, value)
            if result:
                wrong |= {(name, value, k): v for k, v in differences(row, result).items()}
            if "ok" in (row["status"], row["cuped_status"]):
                of_dimension.append(row)
        wrong |= {(name, k): v for k, v in wrong_corrections(of_dimension, len(found), control).items()}
    assert not wrong


def wrong_corrections(rows: list[dict], values: int, control: dict[str, int]) -> dict:
    """What differs from scipy: the corrected p-values, and the test whether the effects differ.

    `rows`: the comparisons that could be made, of so many `values`; `control`: its matured identities, by value. The test leaves out
    values with fewer than 50 in either arm."""
    adjusted = ["cuped_" if row["cuped_status"] == "ok" else "" for row in rows]
    corrected = stats.false_discovery_control(
        [row[f"{p}relative_p_value"] for p, row in zip(adjusted, rows, strict=True)]
    )
    weighed = np.array(
        [
            (row[f"{p}absolute_lift"], row[f"{p}absolute_standard_error"] ** -2.0)
            for p, row in zip(adjusted, rows, strict=True)
            if min(row["identities_matured"], control[row["dimension_value"]]) >= 50
        ]
    ).reshape(-1, 2)
    lifts, weights = weighed.T
    statistic = (
        float((weights * (lifts - (weights @ lifts) / weights.sum()) ** 2).sum()) if len(weighed) else None
    )
    interaction = stats.chi2.sf(statistic, len(weighed) - 1) if len(weighed) > 1 else None
    wrong = {}
    for row, p_value in zip(rows, corrected, strict=True):
        wrong |= differences(row, {"p_value_benjamini_hochberg": p_value, "comparisons": len(rows)})
        if interaction is None:
            assert row["p_value_interaction"] is None
        else:
            wrong |= differences(row, {"p_value_interaction": interaction})
        wrong |= differences(row, {"values_left_out": values - len(weighed)})
    return wrong


def test_breakdown__values_with_fewer_than_50_in_an_arm__are_left_out_of_the_interaction_and_counted(broken):
    """Given two large values of a dimension and many small ones; then a test of nothing but small ones is null."""
    left_out = {
        k[3]: row["values_left_out"] for k, row in broken.items() if k[:3] == ("running", "assigned", "share")
    }
    assert left_out["segment:vip"] == 0 and left_out["trait:town"] > 9
    towns = [row for k, row in broken.items() if k[:4] == ("running", "assigned", "share", "trait:town")]
    assert {row["p_value_interaction"] for row in towns} == {None} and "ok" in {
        row["status"] for row in towns
    }


def test_breakdown__not_asked_for_or_refused__no_rows(broken):
    assert {k[0] for k in broken} == {"running", "changed"}


def test_breakdowns__misspelt_or_never_seen__named_by_their_cell(warehouse):
    problems = warehouse.query(
        "select * from marts.experiment_declaration_problems where column_name = 'breakdowns' order by all"
    )
    assert [(row["severity"], row["experiment_key"], row["problem"]) for row in problems] == [
        ("problem", "misspelt", "breakdowns must be traits, segments and cohorts with `;` between them"),
        ("warning", "unseen", "no cohort `old` is declared"),
        ("warning", "unseen", "no delivery carried the trait `Plan`"),
    ]
    assert all(row["cell"] and row["row_number"] and row["remedy"] for row in problems)
