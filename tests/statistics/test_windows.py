"""Metrics with a window count whoever has it behind them, and a margin decides whether a variation is not worse.

On the same people: days, first times and quantiles, which equal those of gbstats.
"""

import json
import math
from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

from .experiments import (
    BEGIN,
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
from .test_oracle import METHODS, ORACLES, equal

CHANGE = 90  # hours: blue falls from 50 % to 20 %
CLOCKS = (120, 200)
DICE = np.random.default_rng(4)


class Person(NamedTuple):
    name: str
    arm: str
    exposed: float
    comes_back: float | None  # as control
    activated: float | None
    bought: dict[float, float]  # hours and values
    visited: list[float]


def person(number: int) -> Person:
    arm = "blue" if number % 2 else "control"
    exposed = 1.0 + number
    hours = exposed - 60 + 240 * DICE.random(12)
    bought = {round(float(hour), 2): float(DICE.integers(1, 9)) + (arm == "blue") for hour in hours[:7]}
    return Person(
        name=f"{arm}-{number}",
        arm=arm,
        exposed=exposed,
        comes_back=CHANGE + 5 if number % 14 == 1 and exposed < CHANGE else None,
        activated=exposed + number % 50 if number % 3 == 0 else None,
        bought=bought,
        visited=[round(float(hour), 2) for hour in hours[7:]],
    )


PEOPLE = [person(number) for number in range(180)]
WINDOWS = {  # the metric's event, from when, until when, and whether it counts events
    "soon": ("buy", 0, 48, False),
    "back": ("visit", 24, 72, True),
    "later": ("visit", 24, None, True),
    "whole": ("buy", 0, None, False),
}


def margins() -> tuple[dict[str, float], list[dict]]:
    """Margins a billionth on either side of the ends of the intervals, with their metrics."""
    found, metrics = {}, []
    for method in ("frequentist", "sequential"):
        low, high = interval(method)
        assert low < 0 < high
        for direction, end in (("higher_is_better", -low), ("lower_is_better", high)):
            for beyond in (1, -1):
                key = f"{method} {direction} {'above' if beyond > 0 else 'below'}"
                found[key] = float(end * (1 + beyond * 1e-9))
                metrics.append(
                    metric(
                        key,
                        event_name="score",
                        aggregation="sum",
                        direction=direction,
                        margin=repr(found[key]),
                    )
                )
    return found, metrics


# A margin is held against an interval that statsmodels computed.
OF_STATSMODELS = json.loads((ORACLES / "statsmodels_0_15_0_margins.json").read_text())
SCORES = OF_STATSMODELS["scores"]


def interval(method: str) -> tuple[float, float]:
    """The 95 % interval of the relative lift of blue, from every identity's score."""
    low, high = OF_STATSMODELS["relative_lift_low"], OF_STATSMODELS["relative_lift_high"]
    if method == "frequentist":
        return low, high
    # Always valid: the same standard error, and the width for tuning at 1,000 identities.
    a, b = (np.array([SCORES[p.name] for p in PEOPLE if p.arm == arm]) for arm in ("control", "blue"))
    freedom = stats.ttest_ind(b, a, equal_var=False).df
    lift, error, n = (low + high) / 2, (high - low) / 2 / stats.t.ppf(0.975, freedom), len(PEOPLE)
    rho = (math.log(1 - 2 * math.log(0.05)) - 2 * math.log(0.05)) / 1000
    information = n * rho + 1
    width = error * math.sqrt(2 * information * math.log(math.sqrt(information) / 0.05) / (n * rho))
    return lift - width, lift + width


MARGINS, OF_MARGINS = margins()
# Kinds of metrics that are no sums of an identity's events.
ORACLE = json.loads((ORACLES / "gbstats_0_8_0_kinds.json").read_text())
KINDS = {
    "load p50": metric("load p50", event_name="load", aggregation="quantile", quantile="0.5"),
    "load p90": metric("load p90", event_name="load", aggregation="quantile", quantile="0.9"),
    "load days": metric("load days", event_name="load", aggregation="days"),
    "first load": metric(
        "first load", event_name="load", aggregation="hours_to_first", conversion_window_hours=24
    ),
    "load value": metric("load value", event_name="load", aggregation="sum", before_days=1),
}
TEA_TASTING = json.loads((ORACLES / "tea_tasting_2_0_0.json").read_text())["expected"]
CHANGED_KINDS = {
    "visit days": metric("visit days", event_name="visit", aggregation="days", conversion_window_hours=72),
    "first buy": metric(
        "first buy", event_name="buy", aggregation="hours_to_first", conversion_window_hours=48
    ),
    "buy p60": metric(
        "buy p60", event_name="buy", aggregation="quantile", quantile="0.6", conversion_window_hours=48
    ),
    "extreme": metric("extreme", event_name="buy", aggregation="quantile", quantile="0.999"),
}
# Two people of each arm have the event, far apart; and an event that blue does not know.
RARE = {
    "rare first": metric(
        "rare first", event_name="rare", aggregation="hours_to_first", conversion_window_hours=48
    ),
    "rare p50": metric("rare p50", event_name="rare", aggregation="quantile", quantile="0.5"),
    "one-armed p50": metric("one-armed p50", event_name="one-armed", aggregation="quantile", quantile="0.5"),
}
BAD = {
    "no quantile": {"aggregation": "quantile"},
    "not a quantile": {"aggregation": "quantile", "quantile": "50"},
    "quantile of a sum": {"aggregation": "sum", "quantile": "0.5"},
    "quantile before": {"aggregation": "quantile", "quantile": "0.5", "before_days": 7},
    "capped time": {
        "aggregation": "hours_to_first",
        "conversion_window_hours": 24,
        "winsorise_percentile": 0.9,
    },
    "endless": {"aggregation": "hours_to_first"},
    "negative": {"margin": "-0.1"},
    "no margin": {"margin": "0"},
    "words": {"margin": "two per cent"},
    "before": {"window_start_hours": "-1"},
    "empty": {"window_start_hours": "48", "conversion_window_hours": 48},
}
# Metrics whose events no outcome has, and experiments in whose dates nothing was received.
UNKNOWN = [
    metric("misspelt", event_name=" Buy"),
    metric("divided", aggregation="ratio", event_name="buy", denominator_event_name="session"),
    metric("not divided", event_name="visit", denominator_event_name="session"),
]
WITHOUT_TRAFFIC = {
    "too early": ("2025-12-01", "2026-01-01", {}),
    "too late": ("2026-02-01", None, {}),
    "planned": ("2999-02-01", None, {}),
    "between": ("2026-01-08 13:00", "2026-01-08 22:00", {}),
    "in the gap": ("2026-01-08 13:00", "2026-01-09 08:00", {"feature_name": "another"}),
    # In a part of the dates: `another` is evaluated after five days, `brief` in the third hour alone.
    "begun too soon": ("2026-01-01", None, {"feature_name": "another"}),
    "gone": ("2026-01-01", None, {"feature_name": "brief"}),
    "just gone": ("2026-01-01", "2026-01-03 03:30", {"feature_name": "brief"}),  # for two days exactly
    "over in time": ("2026-01-01", "2026-01-03 03:00", {"feature_name": "brief"}),
    "unheard of": ("2025-12-01", "2026-01-01", {"feature_name": "nobody's", "activation_event": "opened"}),
}


def seen(p: Person, hours: float, arm: str):
    """An evaluation of two features: the weights of the second never change."""
    weights = {"checkout": 50.0 if hours < CHANGE else 20.0, "steady": 50.0}
    flags = [
        state(arm, weight if arm == "blue" else None, feature=feature, feature_id=number)
        for number, (feature, weight) in enumerate(weights.items(), 1)
    ]
    return delivery_of(p.name, hours, flags)


def landed(before: float, until: float) -> list:
    rows = [(3, evaluation("somebody", 3, feature="brief", feature_id=7))]
    for p in PEOPLE:
        rows.append((p.exposed, seen(p, p.exposed, p.arm)))
        if p.comes_back:
            rows.append((p.comes_back, seen(p, p.comes_back, "control")))
    return [row for hours, row in rows if before < hours <= until] + [clock(until)]


def declare(warehouse: ExperimentWarehouse) -> None:
    plain = {"aggregation": "sum", "event_name": "buy"}
    warehouse.give(
        "experiments",
        [experiment("changed", activation_event="open")]
        + [
            experiment(method, decision_method=method, feature_name="steady", sequential_tuning=1000)
            for method in ("frequentist", "sequential")
        ]
        + [
            experiment(key, started_at=started_at, ended_at=ended_at, **others)
            for key, (started_at, ended_at, others) in WITHOUT_TRAFFIC.items()
        ]
        + [experiment("without metrics")],
    )
    kinds = [
        metric(
            key,
            event_name=name,
            aggregation="count" if counts else "sum",
            window_start_hours=str(start) if start else None,
            conversion_window_hours=end,
        )
        for key, (name, start, end, counts) in WINDOWS.items()
    ]
    kinds += [
        metric("capped", conversion_window_hours=48, winsorise_percentile=0.7, **plain),
        metric("adjusted", conversion_window_hours=48, before_days=2, **plain),
        metric("worse", aggregation="sum", event_name="fewer", margin="0.1"),
        metric("guarded", aggregation="sum", event_name="score"),
    ]
    bad = [metric(key, **cells) for key, cells in BAD.items()]
    new = [*KINDS.values(), *CHANGED_KINDS.values(), *RARE.values()]
    warehouse.give("metrics", kinds + OF_MARGINS + bad + UNKNOWN + new)
    warehouse.give(
        "experiment_metrics",
        [link("changed", key) for key in [*WINDOWS, "capped", "adjusted"]]
        + [link(key.split()[0], key) for key in MARGINS]
        + [link("frequentist", "worse"), link("frequentist", "guarded", "guardrail", margin="0.5")]
        + [link(key, "guarded") for key in WITHOUT_TRAFFIC]
        + [link("frequentist", key, "guardrail") for key in KINDS]
        + [link("changed", key, "secondary") for key in CHANGED_KINDS]
        + [link("sequential", key, "guardrail") for key in ("extreme", *RARE)],
    )
    warehouse.give("conversion_events", outcomes())


def outcomes() -> list[dict]:
    """Every outcome of the people."""
    return (
        [event(p.name, "buy", hour, value) for p in PEOPLE for hour, value in p.bought.items()]
        + [event(p.name, "visit", hour) for p in PEOPLE for hour in p.visited]
        + [event(p.name, "open", p.activated) for p in PEOPLE if p.activated]
        + [event(p.name, "score", p.exposed, SCORES[p.name]) for p in PEOPLE]
        + [event(name, "load", hour, value) for name, hour, value in ORACLE["events"]]
        + [
            event(
                p.name,
                "rare",
                p.exposed + (20 if p.arm == "blue" else 10) + number / 9 + again,
                number + again,
            )
            for number, p in enumerate(PEOPLE[:4])
            for again in range(3)
        ]
        + [event(p.name, "one-armed", p.exposed + 1, p.exposed) for p in PEOPLE if p.arm == "control"]
        # Of blue it is one identity, however often.
        + [
            event(next(p.name for p in PEOPLE if p.arm == "blue"), "one-armed", 120 + n / 9, n)
            for n in range(20)
        ]
        + [
            event(p.name, "fewer", p.exposed, SCORES[p.name] * (0.5 if p.arm == "blue" else 1))
            for p in PEOPLE
        ]
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The results and the daily results as of each clock, and the problems found."""
    warehouse = ExperimentWarehouse(tmp_path_factory.mktemp("windows"))
    declare(warehouse)
    found, before = {}, -1.0
    for until in CLOCKS:
        warehouse.land(landed(before, until))
        last = ["+experiment_declaration_problems"] if until == CLOCKS[-1] else []
        warehouse.run("run", "--select", "+fct_experiment_results", "+fct_experiment_results_daily", *last)
        found[until] = (
            warehouse.mart("fct_experiment_results"),
            warehouse.mart("fct_experiment_results_daily"),
        )
        before = until
    return found, warehouse.mart("experiment_declaration_problems")


def belongs(p: Person, population: str, until: float) -> bool:
    if population == "undisturbed":
        return not (p.comes_back and p.comes_back <= until)
    return population != "activated" or bool(p.activated and p.activated <= until)


def counted(key: str, population: str, arm: str, until: float) -> dict[str, float]:
    """What the results say as of a clock, from each person's events."""
    name, start, end, _ = WINDOWS[key]
    people = [p for p in PEOPLE if p.arm == arm and p.exposed <= until and belongs(p, population, until)]
    matured = [p for p in people if p.exposed + (end or start) <= until]
    values = []
    for p in matured:
        happened = dict.fromkeys(p.visited, 1.0) if name == "visit" else p.bought
        stop = until + 1e-9 if end is None else min(p.exposed + end, until + 1e-9)
        if population == "until_change" and p.exposed < CHANGE:
            stop = min(stop, CHANGE)
        values.append(sum(v for hour, v in happened.items() if p.exposed + start <= hour < stop))
    return {
        "identities": len(people),
        "identities_matured": len(matured),
        "outcome_sum": sum(values),
        "outcome_sum_squares": sum(value * value for value in values),
    }


@pytest.mark.parametrize("population", ["assigned", "until_change", "undisturbed", "activated"])
@pytest.mark.parametrize("until", CLOCKS)
def test_results__windows__whoever_has_it_behind_them_as_counted_by_hand(built, until, population):
    rows = {
        (row["metric_key"], row["variation"]): row
        for row in built[0][until][0]
        if row["experiment_key"] == "changed" and row["population"] == population
    }
    for key in WINDOWS:
        for arm in ("control", "blue"):
            expected = counted(key, population, arm, until)
            row = rows[key, arm]
            assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-12), (key, arm)
    assert rows["whole", "blue"]["identities_matured"] == rows["whole", "blue"]["identities"]
    assert rows["soon", "blue"]["identities_matured"] < rows["soon", "blue"]["identities"]


def test_results__adjusted_and_capped_with_a_window__those_who_count_alone(built):
    """What was before, and the percentile of a cap, are those of the matured, too."""
    rows = {
        row["metric_key"]: row
        for row in built[0][CLOCKS[-1]][0]
        if (row["experiment_key"], row["population"], row["variation"]) == ("changed", "assigned", "blue")
    }
    matured = [p for p in PEOPLE if p.exposed + 48 <= CLOCKS[-1]]
    total = {
        p.name: sum(v for hour, v in p.bought.items() if p.exposed <= hour < p.exposed + 48) for p in matured
    }
    cap = sorted(total.values())[math.ceil(0.7 * len(matured)) - 1]
    blue = [p for p in matured if p.arm == "blue"]
    before = {
        p.name: sum(v for hour, v in p.bought.items() if p.exposed - 48 <= hour < p.exposed) for p in blue
    }
    assert rows["capped"]["outcome_sum"] == pytest.approx(
        sum(min(total[p.name], cap) for p in blue), rel=1e-12
    )
    assert rows["adjusted"]["before_sum"] == pytest.approx(sum(before.values()), rel=1e-12)
    products = sum(before[p.name] * total[p.name] for p in blue)
    assert rows["adjusted"]["outcome_before_products"] == pytest.approx(products, rel=1e-12)


def test_results_daily__clock_went_on__matured_values_never_change(built):
    """Given no late arrivals; then days that were over, of metrics whose window has an end, stay as they were."""
    over = at(CLOCKS[0]).date()
    first, second = (
        {
            (row["metric_key"], row["variation"], row["population"], row["day"]): (
                row["identities_matured"],
                round(row["outcome_sum"], 9),
                round(row["outcome_sum_squares"], 9),
                round(row["outcome_before_products"], 9),
            )
            for row in built[0][until][1]
            if row["experiment_key"] == "changed"
            and row["metric_key"] in ("soon", "back", "adjusted")
            and row["population"] != "undisturbed"
            and BEGIN.date() <= row["day"] < over
        }
        for until in CLOCKS
    )
    assert len(first) > 50 and max(count for count, *_ in first.values()) > 20
    assert first == {key: second[key] for key in first}


@pytest.mark.parametrize("key", MARGINS)
def test_margin__a_billionth_beside_the_end_of_the_interval__its_verdict(built, key):
    row = next(
        row
        for row in built[0][CLOCKS[-1]][0]
        if row["metric_key"] == key and row["variation"] == "blue" and row["population"] == "assigned"
    )
    assert row["margin"] == MARGINS[key]
    assert row["margin_verdict"] == ("not_worse_than_margin" if key.endswith("above") else "undecided")
    assert row["guardrail_status"] == "not_a_guardrail"


def test_margin__half_as_much__worse(built):
    rows = {
        (row["metric_key"], row["variation"]): row
        for row in built[0][CLOCKS[-1]][0]
        if row["experiment_key"] == "frequentist" and row["population"] == "assigned"
    }
    assert rows["worse", "blue"]["margin_verdict"] == "worse"
    assert rows["worse", "control"]["margin_verdict"] == "control"


def test_margin__of_a_guardrail__decides_it(built):
    rows = [
        row
        for row in built[0][CLOCKS[-1]][0]
        if row["metric_key"] == "guarded" and row["variation"] == "blue"
    ]
    assert {(row["margin"], row["guardrail_status"]) for row in rows} == {(0.5, "not_worse_than_margin")}
    without = [row for row in built[0][CLOCKS[-1]][0] if row["experiment_key"] == "changed"]
    assert {(row["margin"], row["margin_verdict"]) for row in without} == {(None, None)}


def test_metrics__a_bad_margin_or_window__refused_by_its_cell(built):
    found = {
        row["metric_key"]: (row["column_name"], row["problem"])
        for row in built[1]
        if row["severity"] == "problem"
    }
    assert found == {
        "negative": ("margin", "margin must be a number above 0"),
        "no margin": ("margin", "margin must be a number above 0"),
        "words": ("margin", "margin must be a number above 0"),
        "before": ("window_start_hours", "window_start_hours must be a number, not negative"),
        "empty": ("window_start_hours", "window_start_hours is not before conversion_window_hours"),
        "no quantile": ("quantile", "the aggregation quantile needs quantile"),
        "not a quantile": ("quantile", "quantile must be a number between 0 and 1"),
        "quantile of a sum": ("quantile", "quantile is for the aggregation quantile"),
        "quantile before": ("before_days", "before_days is for occurrence, count, sum and mean"),
        "capped time": ("winsorise_percentile", "winsorise_percentile is for count, sum, mean and days"),
        "endless": ("conversion_window_hours", "hours_to_first needs conversion_window_hours"),
    }


@pytest.mark.parametrize("key", KINDS)
@pytest.mark.parametrize("difference", ["absolute", "relative"])
def test_kinds__days_first_times_quantiles_and_an_adjusted_sum__equal_those_of_gbstats(
    built, key, difference
):
    """Given identities with several events each, some alike; then every figure is that of gbstats on the same events."""
    rows = {
        row["variation"]: row
        for row in built[0][CLOCKS[-1]][0]
        if (row["experiment_key"], row["population"], row["metric_key"]) == ("frequentist", "assigned", key)
    }
    expected = ORACLE["expected"][key]
    is_adjusted = key == "load value"
    if not is_adjusted:
        assert [rows["control"]["mean"], rows["blue"]["mean"]] == pytest.approx(expected["mean"], rel=1e-9)
    ours = {
        (method, name): rows["blue"][f"{'cuped_' * is_adjusted}{difference}_{METHODS[method][name]}"]
        for method in METHODS
        for name in expected[difference][method]
    }
    wrong = {
        (method, name): (value, expected[difference][method][name])
        for (method, name), value in ours.items()
        if not equal(value, expected[difference][method][name])
    }
    assert not wrong


@pytest.mark.parametrize("name", TEA_TASTING)
def test_kinds__equal_those_of_tea_tasting__but_the_ends_of_the_relative_interval(built, name):
    """Given tea-tasting's results of the same events; then lifts, the absolute interval and its p-value are equal."""
    key, prefix = ("load value", "cuped_") if name == "load value" else (name.replace("plain", "load"), "")
    row = next(
        row
        for row in built[0][CLOCKS[-1]][0]
        if (row["experiment_key"], row["population"], row["metric_key"], row["variation"])
        == ("frequentist", "assigned", key, "blue")
    )
    theirs = TEA_TASTING[name]
    ours = {
        "effect_size": row[f"{prefix}absolute_lift"],
        "effect_size_ci_lower": row[f"{prefix}absolute_low"],
        "effect_size_ci_upper": row[f"{prefix}absolute_high"],
        "pvalue": row[f"{prefix}absolute_p_value"],
    }
    if not prefix:
        ours["rel_effect_size"] = row["relative_lift"]
    assert ours == pytest.approx({name: theirs[name] for name in ours}, rel=1e-9)


def values_of(key: str, population: str, until: float) -> list[tuple[str, bool, dict[float, float]]]:
    """Of everybody who counts as of a clock: the variation, whether exposed before the change, and the events that count."""
    declared = CHANGED_KINDS[key]
    found = []
    for p in PEOPLE:
        window = declared.get("conversion_window_hours") or 0
        if p.exposed + window > until or not belongs(p, population, until):
            continue
        stop = min(p.exposed + window if window else math.inf, until + 1e-9)
        if population == "until_change" and p.exposed < CHANGE:
            stop = min(stop, CHANGE)
        happened = dict.fromkeys(p.visited, 1.0) if declared["event_name"] == "visit" else p.bought
        mine = {hour - p.exposed: v for hour, v in happened.items() if p.exposed <= hour < stop}
        found.append((p.arm, p.exposed < CHANGE, {hour: mine[hour] for hour in sorted(mine)}, p.exposed))
    return found


@pytest.mark.parametrize("population", ["assigned", "until_change", "undisturbed", "activated"])
@pytest.mark.parametrize("until", CLOCKS)
def test_kinds__in_every_population__as_counted_by_hand(built, until, population):
    """Given weights that changed; then days, first times and quantiles are of those in the population, and a quantile's lift
    is the mean of those of the epochs, by their events."""
    rows = {
        (row["metric_key"], row["variation"]): row
        for row in built[0][until][0]
        if row["experiment_key"] == "changed" and row["population"] == population
    }
    for arm in ("control", "blue"):
        days = [
            float(len({int((hour + exposed) // 24) for hour in mine}))
            for name, _, mine, exposed in values_of("visit days", population, until)
            if name == arm
        ]
        times = [
            min(mine)
            for name, _, mine, _ in values_of("first buy", population, until)
            if name == arm and mine
        ]
        got = rows["visit days", arm]
        assert (got["outcome_sum"], got["outcome_sum_squares"]) == (sum(days), sum(d * d for d in days))
        got = rows["first buy", arm]
        assert got["denominator_sum"] == len(times) and got["outcome_sum"] == pytest.approx(
            sum(times), rel=1e-9
        )
    people = values_of("buy p60", population, until)
    events = {
        (arm, early): [
            v for name, is_early, mine, _ in people if (name, is_early) == (arm, early) for v in mine.values()
        ]
        for arm in ("control", "blue")
        for early in (True, False)
    }
    epochs = [
        early for early in (True, False) if all(len(events[arm, early]) > 5 for arm in ("control", "blue"))
    ]
    weights = [len(events["control", early]) + len(events["blue", early]) for early in epochs]
    means = {
        arm: np.average([np.quantile(events[arm, early], 0.6) for early in epochs], weights=weights)
        for arm in ("control", "blue")
    }
    row = rows["buy p60", "blue"]
    assert len(epochs) == (2 if until == CLOCKS[-1] else 1)
    assert (row["mean"], row["control_mean"]) == pytest.approx((means["blue"], means["control"]), rel=1e-9)
    assert row["absolute_lift"] == pytest.approx(means["blue"] - means["control"], rel=1e-9, abs=1e-12)


def test_kinds__two_people_of_an_arm_have_the_event__nobody_wins(built):
    """Given 90 people in each arm; then the smallest sample is one of those who had the event, of whom a test could make anything."""
    rows = {
        row["metric_key"]: row
        for row in built[0][CLOCKS[-1]][0]
        if (row["experiment_key"], row["population"], row["variation"]) == ("sequential", "assigned", "blue")
    }
    for key in ("rare first", "rare p50"):
        assert rows[key]["identities_matured"] >= 50 and rows[key]["status"] == "ok"
        assert rows[key]["verdict"] == "collecting_data"
        assert rows[key]["verdict_reason"].startswith(
            "An arm has fewer identities with the event than the 50"
        )
    assert rows["one-armed p50"]["status"] == "too_few_identities"
    assert rows["one-armed p50"]["verdict_reason"].startswith("An arm has too few events for this quantile")


def test_kinds__quantile_beyond_its_events__refused_and_kept_out_of_the_days(built):
    results, daily = built[0][CLOCKS[-1]]
    of_changed = [row for row in results if row["experiment_key"] == "changed" and row["variation"] == "blue"]
    extreme = [row for row in results if row["metric_key"] == "extreme" and row["variation"] == "blue"]
    assert {row["status"] for row in extreme} == {"too_few_identities"}
    (reason,) = (
        row["verdict_reason"]
        for row in extreme
        if (row["experiment_key"], row["population"]) == ("sequential", "assigned")
    )
    assert reason.startswith("An arm has too few events for this quantile")
    last = max(row["day"] for row in daily if row["experiment_key"] == "changed")
    assert {row["day"] for row in daily if row["metric_key"] == "buy p60"} == {last}
    flagsmith = {
        row["flagsmith_status"] for row in of_changed if row["metric_key"] in ("buy p60", "first buy")
    }
    assert flagsmith == {"not_a_flagsmith_metric"}


def test_declarations__held_against_what_was_seen__a_warning_says_what_and_what_to_do(built):
    """Given events that no outcome has, metrics and experiments that are not linked, and dates without a webhook."""
    found = {
        (row["experiment_key"] or row["metric_key"], row["column_name"]): (row["problem"], row["remedy"])
        for row in built[1]
        if row["severity"] == "warning"
    }
    unlinked = (
        "no experiment has this metric, so it is not computed",
        "add a row to experiment_metrics, or leave it for later",
    )
    for key in ("misspelt", "divided", "not divided", *BAD):
        assert found.pop((key, "metric_key")) == unlinked, key
    unseen, events = (
        "no outcome has this event",
        "`buy`, `visit`, `load`, `fewer`, `score`, `one-armed`, `open`, `rare`",
    )
    to_come, dates = "unless it is still to come", "correct started_at and ended_at"
    since = "nothing was received from production since then: its last webhook came at 2026-01-09 08:00 UTC"
    only = "no delivery from production carried {} in these dates, only"
    assert found == {
        ("misspelt", "event_name"): (unseen, f"write `buy`, {to_come}"),
        ("divided", "denominator_event_name"): (
            unseen,
            f"write one that outcomes have, like {events}, {to_come}",
        ),
        ("unheard of", "activation_event"): (
            unseen,
            f"write one that outcomes have, like {events}, {to_come}",
        ),
        ("unheard of", "feature_name"): (
            "no delivery from production carried this feature",
            "write it as in Flagsmith, unless it is still to come",
        ),
        ("without metrics", "experiment_key"): (
            "the experiment has no metric, so it has no results",
            "name its metrics in experiment_metrics",
        ),
        ("too early", "ended_at"): (only.format("checkout") + " from 2026-01-01 01:00 on (UTC)", dates),
        ("too late", "started_at"): (since, "correct it, or find out why nothing arrives"),
        ("between", "started_at"): (only.format("checkout") + " until 2026-01-08 12:00 (UTC)", dates),
        ("begun too soon", "started_at"): (
            "production sent webhooks from 2026-01-01 01:00 on, but none carried another before 2026-01-06 00:00 (UTC)",
            "write when the experiment began, or find out why the flag was not evaluated",
        ),
        ("gone", "ended_at"): (
            "production sent webhooks until 2026-01-09 08:00, but none carried brief after 2026-01-01 03:00 (UTC)",
            "write when the experiment ended, or find out why the flag is not evaluated any more",
        ),
        ("just gone", "ended_at"): (
            "production sent webhooks until 2026-01-03 03:00, but none carried brief after 2026-01-01 03:00 (UTC)",
            "write when the experiment ended, or find out why the flag is not evaluated any more",
        ),
        ("in the gap", "started_at"): (
            only.format("another") + " until 2026-01-06 00:00 and from 2026-01-09 08:00 on (UTC)",
            dates,
        ),
    }
