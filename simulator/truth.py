"""Computes the rows that the marts should have for a world, from the intended content and never from a body.

Each function takes evaluations in time order (`world.evaluations()`) and returns rows as dictionaries, with the
names of the marts' columns. Times are naive UTC; values keep their Python type.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import mean

from flagsmith_warehouse.simulator.bucketing import choose
from flagsmith_warehouse.simulator.conversions import Effect, flag_of, price_level
from flagsmith_warehouse.simulator.features import VALUE_TYPES, Flag, text_of
from flagsmith_warehouse.simulator.messages import SEGMENT_NAMES, Evaluation, State, Trait
from flagsmith_warehouse.simulator.parameters import Parameters

Rows = list[dict[str, object]]
Weights = tuple[float, ...]


def flag_exposures(evaluations: Iterable[Evaluation]) -> Rows:
    """Return the rows of `fct_flag_exposures`."""
    exposures: dict[tuple, dict] = {}
    for received_at, environment, state in evaluations:
        for flag in state.flags:
            key = (environment, state.identity, *_exposure_key(flag))
            row = exposures.setdefault(key, {"exposure_count": 0, "first_exposed_at": received_at})
            row.update(_flag_columns(flag), environment=environment, identity=state.identity)
            row.update(exposure_count=row["exposure_count"] + 1, last_exposed_at=received_at)
    return list(exposures.values())


def flag_assignments(evaluations: Iterable[Evaluation]) -> Rows:
    """Return the rows of `fct_flag_assignments`: spells with their `change_reason`."""
    spells = _spells(
        evaluations,
        lambda state: {flag.feature.id: flag for flag in state.flags},
        _flag_state,
        absence_ends=False,
    )
    return [
        {
            **spell.columns,
            **_flag_columns(spell.last),
            "evaluation_count": spell.count,
            "valid_from": spell.valid_from,
            "valid_to": spell.valid_to,
            "is_current": spell.valid_to is None,
            "change_reason": _change_reason(spell),
        }
        for spell in spells
    ]


def segment_memberships(evaluations: Iterable[Evaluation]) -> Rows:
    """Return the rows of `fct_segment_memberships`: the spells in which `member` was true."""
    spells = _spells(evaluations, lambda state: state.members, lambda member: member)
    return [
        {
            **spell.columns,
            "segment_id": spell.key,
            "segment_name": SEGMENT_NAMES[spell.key],
            "entered_at": spell.valid_from,
            "left_at": spell.valid_to,
            "left_reason": None if spell.valid_to is None else "absent" if spell.is_gone else "stated",
            "is_current": spell.valid_to is None,
        }
        for spell in spells
        if spell.last
    ]


def identity_traits(evaluations: Iterable[Evaluation]) -> Rows:
    """Return the rows of `fct_identity_traits`, with `value` in its own type instead of three columns."""
    spells = _spells(evaluations, lambda state: {trait.key: trait for trait in state.traits}, _trait_state)
    return [
        {
            **spell.columns,
            "trait_key": spell.key,
            "value": spell.last.value,
            "value_type": VALUE_TYPES[type(spell.last.value)],
            "is_transient": spell.last.is_transient,
            "valid_from": spell.valid_from,
            "valid_to": spell.valid_to,
            "is_current": spell.valid_to is None,
        }
        for spell in spells
    ]


def lifts(evaluations: Iterable[Evaluation], effect: Effect, parameters: Parameters) -> Rows:
    """Return the true lift of revenue in a world with a sale: `variation`, and what two populations claim about it.

    `until_change`: the planted lift, of those who have what they were assigned. `assigned`: intention to treat, what
    everybody is expected to spend until the flag is switched off if first given the variation, over the same for control.
    The visits are those of this world. The expectation is over the buckets, which decide who keeps a variation when
    weights change (exact for weights in tenths of a per cent), and over purchases. The feature must have no overrides.
    """
    first_weights: dict[tuple[str, str], Weights] = {}
    spent: dict[tuple[Weights, Weights], float] = defaultdict(float)
    names: list[str | None] = []
    for received_at, environment, state in evaluations:
        if (flag := flag_of(state, effect.feature_name)) is not None:
            weights = flag.setting.weights
            first = first_weights.setdefault((environment, state.identity), weights)
            spent[first, weights] += price_level(received_at, parameters)
            names = [text_of(option.value) for option in flag.feature.options]
    factors = {None: 1.0} | {place: 1 + effect.lifts.get(name, 0.0) for place, name in enumerate(names)}

    def expected(option: int | None) -> float:
        return sum(amount * _mean_factor(option, *weights, factors) for weights, amount in spent.items())

    return [
        {
            "variation": name,
            "assigned": expected(place) / expected(None) - 1,
            "until_change": effect.lifts.get(name, 0.0),
        }
        for place, name in enumerate(names)
    ]


def _mean_factor(
    option: int | None, first: Weights, later: Weights, factors: Mapping[int | None, float]
) -> float:
    """Return the mean factor on spending under the weights `later` of those who got the option under `first`."""
    buckets = [(bucket + 0.5) / 10 for bucket in range(1_000)]
    return mean(factors[choose(later, bucket)] for bucket in buckets if choose(first, bucket) == option)


def _exposure_key(flag: Flag) -> tuple:
    return flag.feature.id, flag.variation, flag.enabled, flag.assignment_reason


def _flag_columns(flag: Flag) -> dict[str, object]:
    return {
        "feature_id": flag.feature.id,
        "feature_name": flag.feature.name,
        "is_multivariate": flag.is_multivariate,
        "variation": flag.variation,
        "enabled": flag.enabled,
        "value": flag.value,
        "value_type": flag.value_type,
        "assignment_reason": flag.assignment_reason,
        "percentage_allocation": flag.percentage_allocation,
    }


def _flag_state(flag: Flag) -> Hashable:
    return flag.variation, flag.enabled, flag.value_type, flag.value, flag.assignment_reason


def _trait_state(trait: Trait) -> Hashable:
    return repr(trait.value), trait.is_transient


@dataclass
class _Spell:
    """A period in which an element of one identity did not change. `before` is the spell before it."""

    environment: str
    identity: str
    key: Hashable
    valid_from: datetime
    first: object
    last: object
    before: "_Spell | None"
    valid_to: datetime | None = None
    is_gone: bool = False
    count: int = 0

    @property
    def columns(self) -> dict[str, object]:
        return {"environment": self.environment, "identity": self.identity}


def _spells(
    evaluations: Iterable[Evaluation],
    elements_of: Callable[[State], Mapping],
    state_of: Callable[[object], Hashable],
    absence_ends: bool = True,
) -> list[_Spell]:
    """Divide the evaluations of each identity's elements into spells, in the order in which they began.

    absence_ends: whether an element that is absent from an evaluation ends its spell.
    """
    spells: list[_Spell] = []
    latest: dict[tuple[str, str], dict[Hashable, _Spell]] = {}
    for received_at, environment, state in evaluations:
        known = latest.setdefault((environment, state.identity), {})
        elements = elements_of(state)
        for key, spell in known.items():
            if absence_ends and key not in elements and not spell.is_gone:
                spell.is_gone = True
                spell.valid_to = spell.valid_to or received_at
        for key, element in elements.items():
            spell = known.get(key)
            if spell is None or spell.is_gone or state_of(spell.last) != state_of(element):
                if spell is not None and spell.valid_to is None:
                    spell.valid_to = received_at
                spell = _Spell(environment, state.identity, key, received_at, element, element, spell)
                known[key] = spell
                spells.append(spell)
            spell.last, spell.count = element, spell.count + 1
    return spells


def _change_reason(spell: _Spell) -> str:
    """Return the first reason of the contract's list that applies."""
    if spell.before is None:
        return "first_seen"
    old, new = spell.before.last, spell.first
    for override in ("identity_override", "segment_override"):
        is_now, was = new.assignment_reason == override, old.assignment_reason == override
        if is_now != was:
            return f"{override}_added" if is_now else f"{override}_removed"
    if old.enabled != new.enabled:
        return "toggled"
    has_new_weight = old.percentage_allocation != new.percentage_allocation
    return "weights_changed" if has_new_weight else "value_changed"
