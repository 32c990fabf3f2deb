"""The simulated world: identities in one or more environments, and everything that Flagsmith sends about them."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import cached_property
from heapq import merge

from flagsmith_warehouse.simulator import population, project
from flagsmith_warehouse.simulator.dice import Dice
from flagsmith_warehouse.simulator.features import Feature, Flag
from flagsmith_warehouse.simulator.messages import Delivery, Evaluation, FlagChange, State, Trait
from flagsmith_warehouse.simulator.parameters import Parameters
from flagsmith_warehouse.simulator.project import SEGMENTS
from flagsmith_warehouse.simulator.rules import is_member


class Environment:
    """One environment of the world: its features over time, its identities, its traffic."""

    def __init__(self, name: str, parameters: Parameters, deliveries: int) -> None:
        self.name = name
        self.parameters = parameters
        self.deliveries = deliveries
        self.key = population.environment_key(self._dice("key"))
        first = {feature.name: feature for feature in self._first_features()}
        span = parameters.span
        self.versions = [(parameters.starts_at, first)]
        if parameters.is_changing:
            edits = (*project.EDITS, project.SWITCH_OFF) if parameters.has_sale else project.EDITS
            self.versions = project.versions(first, parameters.starts_at, span, self._overridden(), edits)

    def _dice(self, purpose: str) -> Dice:
        return Dice(f"{self.parameters.seed} {self.name} {purpose}")

    def _overridden(self) -> dict[str, int]:
        """The identities (name → Flagsmith's integer) with their own values: every 50th, at most 20."""
        numbers = range(0, self.parameters.identities, 50)[:20]
        return {population.identifier(number): number + 1 for number in numbers}

    def _first_features(self) -> Iterator[Feature]:
        created_at = self.parameters.starts_at - timedelta(days=30)
        option_id = 1
        plans = project.plans(self.parameters.features, self._dice("features"))
        for number, plan in enumerate(plans, start=1):
            created_at += timedelta(microseconds=784_107)
            yield project.build(plan, number, created_at, self._overridden(), option_id)
            option_id += len(plan.options)

    def flag_changes(self) -> Iterator[FlagChange]:
        """Yield the webhooks about changes, sent a moment after each change was made."""
        for change in project.changes(self.versions):
            yield FlagChange(change.changed_at + timedelta(milliseconds=250), self.name, change)

    def evaluations(self) -> Iterator[Evaluation]:
        """Yield the calls of all identities, in time order."""
        upcoming = iter([*(starts_at for starts_at, _ in self.versions), datetime.max])
        version, next_change_at = -1, next(upcoming)
        for call in population.calls(self.parameters, self.deliveries, self._dice("traffic")):
            while call.at >= next_change_at:
                version, next_change_at = version + 1, next(upcoming)
            yield Evaluation(call.at, self.name, self._state(call, version))

    def _state(self, call: population.Call, version: int) -> State:
        """Return the state of a visit. It is the same object until something that it depends on changes."""
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
        return tuple(
            feature.evaluate(identity, self.key, inside) for feature in self.versions[version][1].values()
        )


def _traits(
    visit: population.Visit, updates: population.Traits, sent: population.Traits
) -> tuple[Trait, ...]:
    """Return the stored traits and then the transient ones, which hide stored ones of the same name."""
    stored = visit.traits | updates
    rows = [Trait(population.trait_id(visit.number, key), key, value, False) for key, value in stored.items()]
    kept = [row for row in rows if row.key not in sent]
    return (*kept, *(Trait(None, key, value, True) for key, value in sent.items()))


class World:
    """All environments for a set of parameters. Each call starts again from the same seed."""

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

    @cached_property
    def count(self) -> int:
        """The number of deliveries: evaluations, and webhooks about changes."""
        return self.parameters.deliveries + sum(1 for _ in self.flag_changes())

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
