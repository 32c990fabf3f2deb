"""What a matured identity contributes stays as it is when the clock goes on."""

from collections import Counter
from pathlib import Path
from tempfile import mkdtemp

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, given, settings

from .experiments import ExperimentWarehouse, at, clock, delivery_of, event, experiment, link, metric, state

HISTORIES = 8
CLOCKS = (30, 55, 80)
NAMES = [f"person-{number}" for number in range(8)]  # fewer than a breakdown has values
PHASES = ("split", "less blue", "off", "all blue")
WINDOWS = {"soon": (None, 12), "later": (12, 30), "long": (None, 40)}

hours = st.integers(0, 79)
histories = st.fixed_dictionaries(
    {
        "phases": st.lists(st.sampled_from(PHASES), min_size=8, max_size=8),  # each lasts ten hours
        "evaluations": st.lists(st.tuples(st.sampled_from(NAMES), hours), min_size=20, max_size=40),
        "outcomes": st.lists(st.tuples(st.sampled_from(NAMES), hours), min_size=20, max_size=40),
        "ended": st.sampled_from([None, 25, 60]),
    }
)


def flag(name: str, phase: str) -> dict:
    """What the feature gives this identity in a phase."""
    blue = {"split": 50.0, "less blue": 20.0, "off": 50.0, "all blue": 100.0}[phase]
    is_blue = NAMES.index(name) * 12.5 < blue
    return state("blue" if is_blue else "control", blue if is_blue else None, enabled=phase != "off")


def landed(history: dict, environment: str, until: int) -> list:
    """The evaluations up to a clock; a trait tells who it is."""
    return [
        delivery_of(
            name,
            hour + NAMES.index(name) / 100,
            [flag(name, history["phases"][hour // 10])],
            environment,
            traits=[{"trait_key": "who", "trait_value": name}],
        )
        for name, hour in sorted(set(history["evaluations"]))
        if hour < until
    ] + [clock(until, environment)]


@settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(histories, min_size=HISTORIES, max_size=HISTORIES))
def test_matured__any_history_as_of_three_clocks__contributions_stay(drawn):
    """Given random phases, evaluations and outcomes; then whoever has matured by one clock has the same value by each later one."""
    warehouse, experiments, rows, outcomes = ExperimentWarehouse(Path(mkdtemp())), [], [], []
    for number, history in enumerate(drawn):
        for until in CLOCKS:
            key = f"{number} at {until}"
            rows += landed(history, key, until)
            outcomes += [
                event(name, "buy", hour + 0.5, 2.0**i, key)
                for i, (name, hour) in enumerate(history["outcomes"])
            ]
            ended = history["ended"] and str(at(history["ended"]))
            experiments.append(experiment(key, environment=key, breakdowns="trait:who", ended_at=ended))
    warehouse.land(rows)
    warehouse.give("experiments", experiments)
    warehouse.give(
        "metrics",
        [
            metric(
                key,
                event_name="buy",
                aggregation="sum",
                window_start_hours=start and str(start),
                conversion_window_hours=end,
            )
            for key, (start, end) in WINDOWS.items()
        ],
    )
    warehouse.give(
        "experiment_metrics", [link(one["experiment_key"], key) for one in experiments for key in WINDOWS]
    )
    warehouse.give("conversion_events", outcomes)
    warehouse.run("run", "--select", "+fct_experiment_results_by")
    matured = {
        (
            *row["experiment_key"].split(" at "),
            row["metric_key"],
            row["population"],
            row["dimension_value"],
        ): (
            row["variation"],
            row["mean"],
        )
        for row in warehouse.mart("fct_experiment_results_by")
        if row["identities_matured"] and row["population"] in ("assigned", "until_change")
    }
    wrong, compared = {}, Counter()
    for (number, until, *who), value in matured.items():
        for later in CLOCKS:
            if later > int(until):
                compared[bool(value[1])] += 1
                if (now := matured.get((number, str(later), *who))) != value:
                    wrong[number, until, later, *who] = (value, now)
    assert not wrong
    assert compared[True] > 0
