"""The simulated world: identities with traits, in one or more environments, and all that Flagsmith sends of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from heapq import merge
from typing import NamedTuple

from simulator import population, project
from simulator.dice import Dice
from simulator.features import Feature, Flag
from simulator.project import SEGMENTS, Change
from simulator.rules import is_member
from simulator.wire import serialise


@dataclass(frozen=True)
class Parameters:
    """What a world is made of; equal parameters make equal bytes.

    deliveries: evaluations in all, over all environments (webhooks about changes come on top).
    identities: per environment; at most deliveries / calls_per_state / environments.
    features: how many flags a body has (370 bytes each; one is added and one deleted while traffic runs).
    calls_per_state: how many calls in a row of one identity have byte-identical bodies, before a trait changes.
    volatile: share of identities with a trait that changes at every call (1.0: no two bodies are alike).
    transient: share of calls that send a trait which Flagsmith does not store.
    is_changing: whether weights, values and overrides are changed while traffic runs.
    starts_at: naive UTC; days: how long.
    """

    deliveries: int = 10_000
    identities: int = 500
    features: int = 22
    calls_per_state: int = 5
    environments: tuple[str, ...] = ("production",)
    volatile: float = 0.0
    transient: float = 0.02
    is_changing: bool = True
    starts_at: datetime = datetime(2026, 9, 1)
    days: float = 28.0
    seed: int = 1

    def __post_init__(self) -> None:
        if min(self.deliveries, self.identities, self.features, self.calls_per_state) < 1 or self.days <= 0:
            raise ValueError(
                "Deliveries, identities, features, calls per state and days must all be positive"
            )
        if self.identities > self.sessions_per_environment:
            raise ValueError(
                f"{self.identities} identities cannot all be seen in {self.sessions_per_environment} visits per "
                "environment (deliveries / calls per state / environments): ask for fewer identities or more deliveries"
            )

    @property
    def sessions_per_environment(self) -> int:
        return max(1, self.deliveries // self.calls_per_state // len(self.environments))

    @property
    def span(self) -> timedelta:
        return timedelta(days=self.days)


class Trait(NamedTuple):
    """A trait as evaluated; `id` is None for one that was only sent along (transient)."""

    id: int | None
    key: str
    value: str | int | float | bool | None
    is_transient: bool


@dataclass(frozen=True, eq=False)
class State:
    """What Flagsmith says of an identity until something changes: one body. `members`: segment id → member."""

    identity: str
    flags: tuple[Flag, ...]
    members: dict[int, bool]
    traits: tuple[Trait, ...]

    @cached_property
    def body(self) -> bytes:
        flags = ", ".join(flag.text for flag in self.flags)
        segments = ", ".join(
            _SEGMENT_TEXTS[identifier, member] for identifier, member in self.members.items()
        )
        traits = serialise(
            [
                {"id": one.id, "trait_key": one.key, "trait_value": one.value, "transient": one.is_transient}
                for one in self.traits
            ]
        )
        identity = serialise(self.identity)
        text = f'{{"flags": [{flags}], "identity": {identity}, "segments": [{segments}], "traits": {traits}}}'
        return text.encode("ascii")


_SEGMENT_TEXTS = {
    (segment["id"], member): serialise({"id": segment["id"], "member": member, "name": segment["name"]})
    for segment in SEGMENTS
    for member in (True, False)
}


class Evaluation(NamedTuple):
    """One call of an identity, as intended. `received_at` is naive UTC."""

    received_at: datetime
    environment: str
    state: State

    @property
    def body(self) -> bytes:
        return self.state.body


class FlagChange(NamedTuple):
    """A webhook about a change of a feature, as intended."""

    received_at: datetime
    environment: str
    change: Change
    environment_id: int

    @property
    def body(self) -> bytes:
        return serialise(self.document).encode("ascii")

    @property
    def event_type(self) -> str:
        return "FLAG_DELETED" if self.change.after is None else "FLAG_UPDATED"

    @property
    def document(self) -> dict:
        states = {"new_state": self._state(self.change.after)}
        if self.change.before is not None:
            states["previous_state"] = self._state(self.change.before)
        about = {
            "changed_by": self.change.changed_by,
            "timestamp": f"{self.change.changed_at:%Y-%m-%dT%H:%M:%S.%fZ}",
        }
        return {"data": {**about, **states}, "event_type": self.event_type}

    def _state(self, feature: Feature | None) -> dict | None:
        if feature is None:
            return None
        weights = [
            {
                "id": option.id,
                "multivariate_feature_option": {"id": option.id, "value": option.value},
                "percentage_allocation": weight,
            }
            for option, weight in zip(feature.options, feature.default.weights, strict=True)
        ]
        return {
            "enabled": feature.default.enabled,
            "environment": {"id": self.environment_id, "name": self.environment},
            "feature": {**feature.document, "project": {"id": 1, "name": "Simulated project"}},
            "feature_segment": None,
            "feature_state_value": feature.default.value,
            "identity": None,
            "identity_identifier": None,
            "multivariate_feature_state_values": weights,
        }


Delivery = Evaluation | FlagChange


class Environment:
    """One environment of the world: its features over time, its identities, its traffic."""

    def __init__(self, name: str, parameters: Parameters, deliveries: int) -> None:
        self.name = name
        self.parameters = parameters
        self.deliveries = deliveries
        self.dice_seed = f"{parameters.seed} {name}"
        self.key = population.environment_key(Dice(f"{self.dice_seed} key"))
        self.features = self._first_features()
        self.changes = self._changes() if parameters.is_changing else []

    @cached_property
    def overridden(self) -> dict[str, int]:
        """The identities (name → Flagsmith's integer) that somebody gave own values: every hundredth."""
        numbers = range(0, self.parameters.identities, 100)
        return {population.identifier(number): number + 1 for number in numbers}

    def _first_features(self) -> list[Feature]:
        plans = list(project.plans(self.parameters.features, Dice(f"{self.dice_seed} features")))
        first_created_at = self.parameters.starts_at - timedelta(days=30)
        features, option_id = [], 1
        for number, plan in enumerate(plans, start=1):
            created_at = first_created_at + timedelta(seconds=number, microseconds=number * 784_107)
            features.append(project.build(plan, number, created_at, self.overridden, option_id))
            option_id += len(plan.options)
        return features

    def _changes(self) -> list[Change]:
        return project.changes(
            self.features, self.parameters.starts_at, self.parameters.span, self.overridden
        )

    @cached_property
    def versions(self) -> list[tuple[datetime, tuple[Feature, ...]]]:
        """From when on the environment had which features; the first from the beginning of time."""
        current = {feature.id: feature for feature in self.features}
        versions = [(datetime.min, tuple(self.features))]
        for change in self.changes:
            current = {**current, change.feature.id: change.after}
            features = tuple(feature for _, feature in sorted(current.items()) if feature is not None)
            versions.append((change.changed_at, features))
        return versions

    def flag_changes(self) -> Iterator[FlagChange]:
        """Yield the webhooks about changes, sent a moment after each change was made."""
        for change in self.changes:
            yield FlagChange(change.changed_at + timedelta(milliseconds=250), self.name, change, 1)

    def evaluations(self) -> Iterator[Evaluation]:
        """Yield the calls of all identities, in time order."""
        upcoming = iter([*(starts_at for starts_at, _ in self.versions), datetime.max])
        version, next_change_at = -1, next(upcoming)
        for call in population.calls(self.parameters, self.deliveries, Dice(f"{self.dice_seed} traffic")):
            while call.at >= next_change_at:
                version, next_change_at = version + 1, next(upcoming)
            yield Evaluation(call.at, self.name, self._state(call, version))

    def _state(self, call: population.Call, version: int) -> State:
        """Return the state of a visit: the same object as long as nothing that it depends on changes."""
        key = (version, call.updates, call.sent)
        kept = call.visit.kept
        if kept.get("key") != key:
            kept["key"], kept["state"] = key, self._new_state(call, version)
        return kept["state"]

    def _new_state(self, call: population.Call, version: int) -> State:
        visit, sent = call.visit, dict(call.sent)
        members = self._kept(visit, "members", lambda: self._members(visit.identity, visit.traits))
        if sent:
            flags = self._flags(visit.identity, version, self._members(visit.identity, visit.traits | sent))
        else:
            flags = self._kept(visit, version, lambda: self._flags(visit.identity, version, members))
        return State(visit.identity, flags, members, _traits(visit, dict(call.updates), sent))

    @staticmethod
    def _kept(visit: population.Visit, key: object, make: Callable[[], object]) -> object:
        if key not in visit.kept:
            visit.kept[key] = make()
        return visit.kept[key]

    def _members(self, identity: str, traits: population.Traits) -> dict[int, bool]:
        return {segment["id"]: is_member(segment, self.key, identity, traits) for segment in SEGMENTS}

    def _flags(self, identity: str, version: int, members: dict[int, bool]) -> tuple[Flag, ...]:
        inside = [segment for segment, member in members.items() if member]
        return tuple(feature.evaluate(identity, self.key, inside) for feature in self.versions[version][1])


def _traits(
    visit: population.Visit, updates: population.Traits, sent: population.Traits
) -> tuple[Trait, ...]:
    """Return the stored traits and then the transient ones, which hide stored ones of the same name."""
    stored = visit.traits | updates
    rows = [Trait(population.trait_id(visit.number, key), key, value, False) for key, value in stored.items()]
    kept = [row for row in rows if row.key not in sent]
    return (*kept, *(Trait(None, key, value, True) for key, value in sent.items()))


class World:
    """All environments of a set of parameters. Each call begins the same story anew, from the same seed."""

    def __init__(self, parameters: Parameters | None = None) -> None:
        self.parameters = parameters or Parameters()
        count = len(self.parameters.environments)
        self.environments = [
            Environment(
                name,
                self.parameters,
                self.parameters.deliveries * (place + 1) // count
                - self.parameters.deliveries * place // count,
            )
            for place, name in enumerate(self.parameters.environments)
        ]

    def evaluations(self) -> Iterator[Evaluation]:
        """Yield every call of every identity as intended, in time order."""
        return merge(*(one.evaluations() for one in self.environments), key=_received_at)

    def flag_changes(self) -> Iterator[FlagChange]:
        """Yield every webhook about a change as intended, in time order."""
        return merge(*(one.flag_changes() for one in self.environments), key=_received_at)

    def deliveries(self) -> Iterator[Delivery]:
        """Yield everything that Flagsmith sends, in time order; `.body` holds the bytes."""
        return merge(self.evaluations(), self.flag_changes(), key=_received_at)


def _received_at(delivery: Delivery) -> datetime:
    return delivery.received_at
