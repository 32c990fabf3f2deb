"""fct_experiment_assignments, and the counts and sums of fct_experiment_results."""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import NamedTuple

from .bodies import History


class Experiment(NamedTuple):
    """What is judged of a row of experiments.csv."""

    key: str
    environment: str
    feature_name: str
    started_at: datetime
    ended_at: datetime | None
    reason: str
    activation_event: str | None


class Metric(NamedTuple):
    """What is judged of a row of metrics.csv."""

    key: str
    event: str
    aggregation: str
    numerator: str | None = None
    denominator_event: str | None = None
    denominator: str | None = None
    window_hours: float | None = None


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
]


def assignments(history: History, experiments: list[Experiment], spells: list[dict], events: list[Event]):
    spells_of = defaultdict(list)
    for spell in spells:
        spells_of[spell["environment"], spell["identity"], spell["feature_id"]].append(spell)
    rows = []
    for experiment in experiments:
        # A feature keeps its id: the one that first had the declared name while the experiment ran.
        named = sorted(
            (d.received_at, d.id, flag.feature_id)
            for d in history.evaluations
            if d.environment == experiment.environment and _within(experiment, d.received_at)
            for flag in (d.flags or {}).values()
            if flag.name == experiment.feature_name
        )
        features = {feature_id for _, _, feature_id in named[:1]}
        for (environment, identity), deliveries in history.by_identity().items():
            if environment != experiment.environment:
                continue
            seen = [
                (d.received_at, flag)
                for d in deliveries
                for flag in (d.flags or {}).values()
                # A feature that is switched off says nothing to an experiment.
                if flag.feature_id in features and flag.enabled and _within(experiment, d.received_at)
            ]
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
                    for s in spells_of[environment, identity, other.feature_id]
                    if s["valid_from"] <= contradicted_at
                    and (s["valid_to"] is None or contradicted_at < s["valid_to"])
                )
            activated = [
                e.occurred_at
                for e in events
                if (e.environment, e.identity) == (environment, identity)
                and e.event_name == experiment.activation_event
                and at <= e.occurred_at <= history.clock[environment]
                and _within(experiment, e.occurred_at)
            ]
            rows.append({
                "experiment_key": experiment.key, "identity": identity, "variation": first.variation,
                "is_quarantined": other is not None, "quarantine_reason": reason,
                "other_variation": other.variation if other else None,
                "first_exposed_at": at, "contradicted_at": contradicted_at,
                "activated_at": min(activated, default=None),
            })  # fmt: skip
    return rows


def _within(experiment: Experiment, at: datetime) -> bool:
    return experiment.started_at <= at and (experiment.ended_at is None or at < experiment.ended_at)


def results(
    history: History, experiments: list[Experiment], assigned: list[dict], events: list[Event]
) -> list[dict]:
    by_person = defaultdict(list)
    for e in events:
        by_person[e.environment, e.identity].append(e)
    rows = []
    for experiment in experiments:
        clock = history.clock.get(experiment.environment)
        counted = [r for r in assigned if r["experiment_key"] == experiment.key]
        for metric in METRICS:
            groups = defaultdict(list)
            for row in counted:
                start = row["first_exposed_at"]
                mine = [
                    e
                    for e in by_person[experiment.environment, row["identity"]]
                    if start <= e.occurred_at <= clock
                    and _within(experiment, e.occurred_at)
                    and (
                        metric.window_hours is None
                        or e.occurred_at < start + timedelta(hours=metric.window_hours)
                    )
                ]
                is_matured = start + timedelta(hours=metric.window_hours or 0) <= clock
                pair = outcome(metric, mine) if is_matured else None
                groups[row["variation"], "assigned"].append(pair)
                if row["activated_at"]:
                    groups[row["variation"], "activated"].append(pair)
            for (variation, population), everybody in groups.items():
                pairs = [pair for pair in everybody if pair]
                total, divisor = sum(o for o, _ in pairs), sum(d for _, d in pairs)
                count = divisor if metric.aggregation == "ratio" else len(pairs)
                rows.append({
                    "experiment_key": experiment.key, "metric_key": metric.key, "variation": variation,
                    "population": population, "identities": len(everybody), "identities_matured": len(pairs),
                    "outcome_sum": float(total), "outcome_sum_squares": float(sum(o * o for o, _ in pairs)),
                    "denominator_sum": float(divisor), "mean": total / count if count else None,
                })  # fmt: skip
    return rows


def outcome(metric: Metric, events: list[Event]) -> tuple[float, float]:
    """One identity's outcome and, of a ratio, its denominator."""
    values = [e.value for e in events if e.event_name == metric.event]
    if metric.aggregation == "ratio":
        divisors = [e.value for e in events if e.event_name == metric.denominator_event]
        return _aggregate(metric.numerator, values), _aggregate(metric.denominator, divisors)
    return _aggregate(metric.aggregation, values), 0.0


def _aggregate(aggregation: str, values: list[float]) -> float:
    if not values:
        return 0.0
    if aggregation == "occurrence":
        return 1.0
    if aggregation == "count":
        return float(len(values))
    return sum(values) if aggregation == "sum" else sum(values) / len(values)
