"""dim_experiments, fct_experiment_assignments, and the counts, sums and means of fct_experiment_results."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from .bodies import Flag, History

MINUTE = timedelta(seconds=60)
COME_BACK = 20  # so many without what they had show that it was withdrawn


class Experiment(NamedTuple):
    """What is judged of a row of experiments.csv."""

    key: str
    environment: str
    feature_name: str
    started_at: datetime
    ended_at: datetime | None
    reason: str
    activation_event: str | None
    weights: str = "auto"


class Metric(NamedTuple):
    """What is judged of a row of metrics.csv."""

    key: str
    event: str
    aggregation: str
    numerator: str | None = None
    denominator_event: str | None = None
    denominator: str | None = None
    window_hours: float | None = None
    quantile: float | None = None


class Event(NamedTuple):
    """A row of conversion_events."""

    identity: str
    event_name: str
    occurred_at: datetime
    value: float | None
    environment: str | None


METRICS = [
    Metric("bought", "buy", "occurrence"),
    Metric("bought_soon", "buy", "occurrence", window_hours=6.0),
    Metric("purchases", "buy", "count"),
    Metric("revenue", "buy", "sum"),
    Metric("basket", "buy", "mean"),
    Metric("revenue_per_open", "buy", "ratio", "sum", "open", "count", 48.0),
    Metric("days_open", "open", "days"),
    Metric("hours_to_buy", "buy", "hours_to_first", window_hours=48.0),
    Metric("middle_basket", "buy", "quantile", quantile=0.5),
    Metric("large_basket_soon", "buy", "quantile", window_hours=24.0, quantile=0.7),
]


DIVIDED = ("ratio", "hours_to_first")


class Sighting(NamedTuple):
    """What an evaluation says to an experiment of its feature."""

    at: datetime
    identity: str
    flag: Flag


class Course(NamedTuple):
    """What an experiment went through: its end, its pauses, the beginnings of its epochs."""

    sightings: list[Sighting]
    ended_at: datetime | None
    end_reason: str | None
    pauses: list[tuple[datetime, datetime]]
    epochs: list[datetime]

    def is_open_at(self, at: datetime) -> bool:
        """Whether an evaluation can assign or contradict."""
        return self.is_before_end(at) and not any(first <= at <= last for first, last in self.pauses)

    def is_before_end(self, at: datetime) -> bool:
        return self.ended_at is None or at < self.ended_at

    def epoch_at(self, at: datetime) -> int:
        return sum(began <= at for began in self.epochs)

    def epoch_end(self, epoch: int) -> datetime | None:
        return self.epochs[epoch] if epoch < len(self.epochs) else None


def course(history: History, experiment: Experiment) -> Course:
    seen = _sightings(history, experiment)
    split = [sighting for sighting in seen if sighting.flag.reason == experiment.reason]
    # An option is withdrawn where control alone is given; the reason where nobody is given the flag for it.
    control_alone = _withdrawn(seen, experiment, _has_option, _has_control)
    states = [
        (s.at, _stopped(s.flag) or ("one_variation" if _lies_in(s.at, control_alone) else None))
        for s in split
    ]
    for first, last, _ in _withdrawn(seen, experiment, _has_reason, lambda s, e: not _has_reason(s, e)):
        states += [(first, "reason_changed"), (last, "reason_changed")]
    states.sort(key=lambda state: state[0])
    stretches = _stops(states)
    ended_at, end_reason, pauses = experiment.ended_at, None, [(first, last) for first, last, _ in stretches]
    if ended_at and history.clock.get(experiment.environment, experiment.started_at) >= ended_at:
        end_reason = "declared"
    if stretches and all(why or at < stretches[-1][1] for at, why in states):
        ended_at, _, end_reason = stretches[-1]
        pauses.pop()
    unfinished = Course(seen, ended_at, end_reason, pauses, [])
    drawn = [s for s in split if s.flag.enabled and unfinished.is_open_at(s.at)]
    return unfinished._replace(epochs=_epochs(drawn, experiment.started_at))


def _sightings(history: History, experiment: Experiment) -> list[Sighting]:
    """Of the feature that first had the declared name while the experiment ran; a feature keeps its id."""
    running = [
        (d, flag)
        for d in history.evaluations
        if d.environment == experiment.environment
        and experiment.started_at <= d.received_at
        and (experiment.ended_at is None or d.received_at < experiment.ended_at)
        for flag in (d.flags or {}).values()
    ]
    named = [(d.order, flag.feature_id) for d, flag in running if flag.name == experiment.feature_name]
    feature_id = min(named)[1] if named else None
    return [
        Sighting(d.received_at, d.identity, flag)
        for d, flag in running
        if flag.feature_id == feature_id and d.is_state
    ]


def _stopped(flag: Flag) -> str | None:
    """Why this is no split, if it is none."""
    if not flag.enabled:
        return "switched_off"
    return "one_variation" if flag.percentage == 100 else None


def _has_reason(sighting: Sighting, experiment: Experiment) -> bool:
    return sighting.flag.reason == experiment.reason


def _has_option(sighting: Sighting, experiment: Experiment) -> bool:
    return (
        _has_reason(sighting, experiment) and sighting.flag.enabled and sighting.flag.percentage is not None
    )


def _has_control(sighting: Sighting, experiment: Experiment) -> bool:
    return (
        _has_reason(sighting, experiment)
        and sighting.flag.enabled
        and sighting.flag.percentage is None
        and sighting.flag.variation == "control"
    )


def _withdrawn(
    seen: list[Sighting], experiment: Experiment, has: Callable, has_lost: Callable
) -> list[tuple[datetime, datetime, datetime]]:
    """Stretches in which enough identities come back without what they had, and nobody is given it: the first and the last of
    those who come back, and when somebody is given it again."""
    if experiment.reason == "identity_override":
        return []
    told = sorted((s for s in seen if s.flag.reason != "identity_override"), key=lambda sighting: sighting.at)
    given = [s.at for s in told if has(s, experiment)]
    before: dict[str, bool] = {}
    lost: dict[tuple[datetime, datetime], list[Sighting]] = defaultdict(list)
    for s in told:
        if has_lost(s, experiment) and before.get(s.identity):
            last = max((at for at in given if at <= s.at), default=datetime.min)
            again = min((at for at in given if at >= s.at), default=datetime.max)
            # Between two of the same minute of the clock there is no stretch.
            if last.replace(second=0, microsecond=0) != again.replace(second=0, microsecond=0):
                lost[last, again].append(s)
        before[s.identity] = has(s, experiment)
    return [
        (several[0].at, several[-1].at, again)
        for (_, again), several in lost.items()
        if len({s.identity for s in several}) >= COME_BACK
    ]


def _lies_in(at: datetime, stretches: list[tuple[datetime, datetime, datetime]]) -> bool:
    return any(first <= at < again for first, _, again in stretches)


def _stops(states: list[tuple[datetime, str | None]]) -> list[tuple[datetime, datetime, str]]:
    """Stretches without a split: when each was first and last seen, and why it began.

    One that is interrupted for less than a minute is one: not every worker of Flagsmith had learnt of the change.
    Before the first split nothing has begun that could stop."""
    splits = [at for at, why in states if not why]
    found: list[tuple] = []
    for at, why in states:
        if not why or not splits or at <= splits[0]:
            continue
        if found and not any(found[-1][1] + MINUTE <= other < at for other in splits):
            found[-1] = (found[-1][0], at, found[-1][2])
        else:
            found.append((at, at, why))
    return found


def _epochs(drawn: list[Sighting], started_at: datetime) -> list[datetime]:
    """When each period of constant weights begins."""
    before: dict[str, Sighting] = {}
    changes = set()
    for sighting in drawn:
        if sighting.flag.percentage is None:
            continue
        last = before.get(sighting.flag.variation, sighting)
        if last.flag.percentage != sighting.flag.percentage:
            changes.add((last.at, sighting.at))
        before[sighting.flag.variation] = sighting
    # The weight changed at some time between the two evaluations. If a pair of another variation lies within them, that pair counts.
    narrow = sorted(
        (after, until)
        for after, until in changes
        if not any((after, until) != other and after <= other[0] and other[1] <= until for other in changes)
    )
    begun, reached = [started_at], None
    for after, until in narrow:
        if reached is None or after >= reached + MINUTE:
            begun.append(until)
        begun[-1] = min(begun[-1], until)
        reached = max(reached or until, until)
    return begun


def dimension(history: History, experiments: list[Experiment]) -> list[dict]:
    rows = []
    for experiment in experiments:
        run, clock = course(history, experiment), history.clock.get(experiment.environment)
        has_begun = clock is not None and clock >= experiment.started_at
        rows.append({
            "experiment_key": experiment.key, "environment": experiment.environment,
            "feature_name": experiment.feature_name, "assignment_reason": experiment.reason,
            "activation_event": experiment.activation_event, "primary_population": "assigned",
            "status": "not_started" if not has_begun else "running" if run.is_before_end(clock) else "ended",
            "end_reason": run.end_reason, "started_at": experiment.started_at, "ended_at": run.ended_at,
            "last_received_at": clock,
        })  # fmt: skip
    return rows


def assignments(history: History, experiments: list[Experiment], spells: list[dict], events: list[Event]):
    spells_of = defaultdict(list)
    for spell in spells:
        spells_of[spell["environment"], spell["identity"], spell["feature_id"]].append(spell)
    rows = []
    for experiment in experiments:
        run = course(history, experiment)
        evaluations = defaultdict(list)
        for sighting in run.sightings:
            # A feature that is switched off says nothing to an experiment.
            if sighting.flag.enabled and run.is_open_at(sighting.at):
                evaluations[sighting.identity].append((sighting.at, sighting.flag))
        for identity, seen in evaluations.items():
            assigned = next((n for n, (_, flag) in enumerate(seen) if flag.reason == experiment.reason), None)
            if assigned is None:
                continue
            at, first = seen[assigned]
            contradicted_at, other = next(
                ((t, flag) for t, flag in seen[assigned:] if flag.variation != first.variation), (None, None)
            )
            reason = None
            if other:
                reason = next(
                    s["change_reason"]
                    for s in spells_of[experiment.environment, identity, other.feature_id]
                    if s["valid_from"] <= contradicted_at
                    and (s["valid_to"] is None or contradicted_at < s["valid_to"])
                )
            activated = [
                e.occurred_at
                for e in events
                if (e.environment, e.identity) == (experiment.environment, identity)
                and e.event_name == experiment.activation_event
                and at <= e.occurred_at <= history.clock[experiment.environment]
                and run.is_before_end(e.occurred_at)
            ]
            rows.append({
                "experiment_key": experiment.key, "identity": identity, "variation": first.variation,
                "epoch": run.epoch_at(at), "is_quarantined": other is not None, "quarantine_reason": reason,
                "other_variation": other.variation if other else None,
                "first_exposed_at": at, "contradicted_at": contradicted_at,
                "activated_at": min(activated, default=None),
            })  # fmt: skip
    return rows


class Outcome(NamedTuple):
    """What an identity of an epoch adds to a metric; `divisor` only to a ratio, `values` only to a quantile."""

    epoch: int
    value: float
    divisor: float
    values: list[float]


def results(
    history: History, experiments: list[Experiment], assigned: list[dict], events: list[Event]
) -> list[dict]:
    by_person = defaultdict(list)
    for e in events:
        by_person[e.environment, e.identity].append(e)
    rows = []
    for experiment in experiments:
        run, clock = course(history, experiment), history.clock.get(experiment.environment)
        for metric in METRICS:
            groups: dict[str, dict[str, list[Outcome]]] = defaultdict(lambda: defaultdict(list))
            people: Counter[tuple[str, str]] = Counter()  # whether they count yet or not
            for row in (r for r in assigned if r["experiment_key"] == experiment.key):
                start, change = row["first_exposed_at"], run.epoch_end(row["epoch"])
                mine = [
                    e
                    for e in by_person[experiment.environment, row["identity"]]
                    if start <= e.occurred_at <= clock
                    and run.is_before_end(e.occurred_at)
                    and (
                        metric.window_hours is None
                        or e.occurred_at < start + timedelta(hours=metric.window_hours)
                    )
                ]
                until_change = [e for e in mine if change is None or e.occurred_at < change]
                whole = Outcome(row["epoch"], *outcome(metric, start, mine))
                cut = Outcome(row["epoch"], *outcome(metric, start, until_change))
                until = min(clock, run.ended_at or clock)
                is_matured = start + timedelta(hours=metric.window_hours or 0) <= until
                for population, is_in, value in (
                    ("assigned", True, whole),
                    ("until_change", True, cut),
                    ("undisturbed", not row["is_quarantined"], whole),
                    ("activated", row["activated_at"], whole),
                ):
                    if is_in:
                        people[population, row["variation"]] += 1
                        groups[population][row["variation"]] += [value] * is_matured
            for population, variation in people:
                arms = groups[population]
                arm = arms[variation]
                rows.append({
                    "experiment_key": experiment.key, "metric_key": metric.key, "variation": variation,
                    "population": population, "identities": people[population, variation],
                    "identities_matured": len(arm),
                    "outcome_sum": sum(o.value for o in arm),
                    "outcome_sum_squares": sum(o.value * o.value for o in arm),
                    "denominator_sum": sum(o.divisor for o in arm),
                    "mean": (_mean if metric.quantile is None else _quantile_mean)(metric, arms, variation)
                    if arm
                    else None,
                })  # fmt: skip
    return rows


def _mean(metric: Metric, arms: dict[str, list[Outcome]], variation: str) -> float | None:
    """The means of epochs, weighted by the epochs' shares of all identities in whatever variation."""
    size = Counter((name, o.epoch) for name, arm in arms.items() for o in arm)
    compared = [
        epoch
        for epoch in {o.epoch for o in arms[variation]}
        if size["control", epoch] >= 2
        and any(
            size[name, epoch] >= 2 for name in arms if name != "control" and variation in (name, "control")
        )
    ]
    # Where nothing can be compared, the mean is that of all.
    strata = [[o for o in arms[variation] if o.epoch == epoch] for epoch in compared] or [arms[variation]]
    value = divisor = 0.0
    for arm in strata:
        weight = sum(size[name, arm[0].epoch] for name in arms) / len(arm)
        value += weight * sum(o.value for o in arm)
        divisor += weight * (sum(o.divisor for o in arm) if metric.aggregation in DIVIDED else len(arm))
    return value / divisor if divisor else None


def _quantile_mean(metric: Metric, arms: dict[str, list[Outcome]], variation: str) -> float | None:
    """The quantiles of the events in the epochs, weighted by all events of each epoch; where nothing can be compared, by its own."""
    q = metric.quantile
    values: dict[tuple[str, int], list[float]] = defaultdict(list)
    people: Counter[tuple[str, int]] = Counter()
    for name, arm in arms.items():
        for o in arm:
            values[name, o.epoch] += o.values
            people[name, o.epoch] += bool(o.values)

    def is_comparable(name: str, epoch: int) -> bool:
        """The interval of the quantile must stay within the events, which must be of two people."""
        n = len(values[name, epoch])
        return people[name, epoch] >= 2 and n * min(q / (1 - q), (1 - q) / q) > 1.959963984540054**2

    mine = sorted({epoch for name, epoch in [*values] if name == variation and values[name, epoch]})
    compared = [
        epoch
        for epoch in mine
        if is_comparable("control", epoch)
        and any(
            is_comparable(name, epoch)
            for name in arms
            if name != "control" and variation in (name, "control")
        )
    ]
    weights = {
        epoch: sum(len(values[name, epoch]) for name in (arms if compared else [variation]))
        for epoch in compared or mine
    }
    total = sum(n * _quantile(q, values[variation, epoch]) for epoch, n in weights.items())
    return total / sum(weights.values()) if weights else None


def _quantile(q: float, values: list[float]) -> float:
    """Linear between two values."""
    ordered, place = sorted(values), round((len(values) - 1) * q, 9)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))


def outcome(metric: Metric, start: datetime, events: list[Event]) -> tuple[float, float, list[float]]:
    """One identity's outcome since its exposure; of a ratio, its denominator; of a quantile, its values."""
    values = [e.value for e in events if e.event_name == metric.event]
    times = [e.occurred_at for e in events if e.event_name == metric.event]
    if metric.aggregation == "days":
        return float(len({at.date() for at in times})), 0.0, []
    if metric.aggregation == "hours_to_first":
        return ((min(times) - start) / timedelta(hours=1), 1.0, []) if times else (0.0, 0.0, [])
    if metric.aggregation == "ratio":
        divisors = [e.value for e in events if e.event_name == metric.denominator_event]
        return _aggregate(metric.numerator, values), _aggregate(metric.denominator, divisors), []
    return _aggregate(metric.aggregation, values), 0.0, _usable(values) if metric.quantile else []


def _aggregate(aggregation: str, values: list[float | None]) -> float:
    """An event without a value, or with one that is no finite number, is an event all the same."""
    if aggregation == "occurrence":
        return float(bool(values))
    if aggregation == "count":
        return float(len(values))
    usable = _usable(values)
    return sum(usable) / (len(usable) or 1 if aggregation == "mean" else 1)


def _usable(values: list[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]
