"""Identities, their traits and how these change, and the times of their calls.

An identity comes for a *visit*: `calls_per_state` calls within minutes, all with the same stored traits.
Before each later visit traits change (at least `visits`, which counts them): it enters and leaves segments.
"""

from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heappop, heappush
from typing import NamedTuple

from flagsmith_warehouse.simulator.dice import Dice
from flagsmith_warehouse.simulator.parameters import Parameters

TraitValue = str | int | float | bool | None
Traits = dict[str, TraitValue]

_KEY_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
_COUNTRIES = ("FR", "DE", "US", "Österreich")
_PLANS = ("free", "pro", "enterprise")
_VERSIONS = ("1.2.3", "1.2.4", "1.3.0", "1.10.0")
_SCORES = (12.0, 0.1, -0.0, 1e-07, 1e20, 3.5)
_STORED = "country age plan beta app_version uid visits score nick email referrer tags note debt last_seen"
_TRAIT_KEYS = {key: place for place, key in enumerate(_STORED.split())}
_LONGEST_GAP = 60.0  # seconds between two calls of a visit, where the time span allows it
# Where there is a sale: the shares of identities that leave for good, and that stay away for half of the period.
_CHURN, _PAUSE = 0.4, 0.3


def environment_key(dice: Dice) -> str:
    """Return a client-side key as Flagsmith makes them: 22 letters and digits; buckets depend on it."""
    return "".join(dice.pick(_KEY_LETTERS) for _ in range(22))


def identifier(number: int) -> str:
    """Return the name of an identity. As in real life, some are not ASCII."""
    return f"zoé-{number}" if number % 50 == 49 else f"user_{number}"


def trait_id(number: int, key: str) -> int:
    """Return Flagsmith's integer for a stored trait: one for an identity and a key."""
    return 1 + number * len(_TRAIT_KEYS) + _TRAIT_KEYS[key]


def first_traits(number: int, dice: Dice) -> Traits:
    """Return the stored traits of an identity at its first call, with every type that Flagsmith has."""
    traits: Traits = {
        "country": dice.pick(_COUNTRIES),
        "age": dice.whole(18, 65),
        "plan": dice.pick(_PLANS),
        "beta": dice.chance(0.3),
        "app_version": dice.pick(_VERSIONS),
        "uid": number,
        "visits": 1,
    }
    optional: Traits = {
        "score": dice.pick(_SCORES),
        "nick": "Zoé ☃ 𝄞",
        "email": f"user{number}@corp.example",
        "referrer": None,
        "tags": "[1, 'a']",
        "note": "",
        "debt": -5,
    }
    return traits | {key: value for key, value in optional.items() if dice.chance(0.3)}


def change_traits(traits: Traits, dice: Dice) -> Traits:
    """Return the traits at the next visit: one more visit, and sometimes a move, an upgrade or a deletion."""
    changed = {**traits, "visits": traits["visits"] + 1}
    if dice.chance(0.10):
        changed["plan"] = dice.pick(_PLANS)
    if dice.chance(0.05):
        changed["country"] = dice.pick(_COUNTRIES)
    if dice.chance(0.05):
        changed["beta"] = not traits["beta"]
    if dice.chance(0.10):
        changed["app_version"] = dice.pick(_VERSIONS)
    if dice.chance(0.10):
        changed["age"] = traits["age"] + 1
    if dice.chance(0.05) and changed.pop("nick", None) is None:
        changed["nick"] = "René ☃"
    return changed


@dataclass(eq=False)
class Visit:
    """Calls of one identity with the same stored traits. `kept`: the evaluation computed so far."""

    number: int
    identity: str
    traits: Traits
    is_volatile: bool
    kept: dict = field(default_factory=dict)


class Call(NamedTuple):
    """One call: `updates` are stored with it, `sent` are transient traits."""

    at: datetime
    visit: Visit
    updates: tuple[tuple[str, TraitValue], ...]
    sent: tuple[tuple[str, TraitValue], ...]


def calls(parameters: Parameters, deliveries: int, dice: Dice) -> Iterator[Call]:
    """Yield the calls of one environment in time order, no two at the same microsecond for one identity.

    Keeps current visits and the traits of each identity in memory, never the calls.
    """
    gap = _mean_gap(parameters, deliveries)
    kind = _UnevenRoster if parameters.has_sale else _Roster
    roster = kind(parameters, -(-deliveries // parameters.calls_per_state), dice)
    going_on: list[tuple[int, int, int, Visit]] = []
    for place in range(roster.visits):
        starts_at = roster.starts_at(place)
        while going_on and going_on[0][0] < starts_at:
            yield _next_call(going_on, roster.active, gap, parameters, dice)
        visit = roster.next_visit(place)
        remaining = min(parameters.calls_per_state, deliveries)
        deliveries -= remaining
        heappush(going_on, (starts_at, visit.number, remaining, visit))
    while going_on:
        yield _next_call(going_on, roster.active, gap, parameters, dice)


def _mean_gap(parameters: Parameters, deliveries: int) -> float:
    """The seconds between calls, chosen so that at most about half of the identities are visiting at a time."""
    room = parameters.span.total_seconds() * parameters.identities / deliveries
    return min(_LONGEST_GAP, room) / 4


def _next_call(going_on: list, active: set[int], gap: float, parameters: Parameters, dice: Dice) -> Call:
    at, number, remaining, visit = heappop(going_on)
    if remaining > 1:
        pause = 1 + int((0.1 + 1.8 * dice.random()) * gap * 1_000_000)
        heappush(going_on, (at + pause, number, remaining - 1, visit))
    else:
        active.discard(number)
    moment = datetime(1970, 1, 1) + timedelta(microseconds=at)
    updates = (("last_seen", at),) if visit.is_volatile else ()
    return Call(moment, visit, updates, _transient_traits(parameters.transient, at, dice))


def _transient_traits(share: float, at: int, dice: Dice) -> tuple[tuple[str, TraitValue], ...]:
    """The transient traits: a session, and sometimes a country that differs from the stored one (Flagsmith allows this)."""
    if not dice.chance(share):
        return ()
    session = ("tmp_session", f"s-{at}")
    return (session, ("country", "FR")) if dice.chance(0.3) else (session,)


class _Roster:
    """The order of visits. New identities arrive during four fifths of the visits; known ones return in between."""

    def __init__(self, parameters: Parameters, visits: int, dice: Dice) -> None:
        self.parameters = parameters
        self.visits = visits
        self.dice = dice
        self.traits: list[Traits] = []
        self.active: set[int] = set()

    def starts_at(self, place: int) -> int:
        """Return when a visit begins, in microseconds since 1970: half a step or more after the last one."""
        since = self.parameters.starts_at - datetime(1970, 1, 1)
        share = (place + self.dice.random() / 2) / self.visits
        return int((since + share * self.parameters.span) / timedelta(microseconds=1))

    def next_visit(self, place: int) -> Visit:
        number = self._who(place)
        if number == len(self.traits):
            self.traits.append(first_traits(number, self.dice))
        else:
            self.traits[number] = change_traits(self.traits[number], self.dice)
        self.active.add(number)
        is_volatile = number < self.parameters.volatile * self.parameters.identities
        return Visit(number, identifier(number), self.traits[number], is_volatile)

    def _who(self, place: int) -> int:
        """Return the number of the next visitor: a newcomer if one is due, otherwise an identity that is not visiting."""
        known, total = len(self.traits), self.parameters.identities
        if known < min(total, 1 + place * total * 5 // (self.visits * 4)):
            return known
        if (number := self._returning(place)) is not None:
            return number
        if known < total:
            return known
        raise ValueError("Everybody is visiting at once: give the world more days or more identities")

    def _returning(self, place: int) -> int | None:
        """Return the number of a known identity that is not visiting, None if there is none."""
        known = len(self.traits)
        favourite = int(self.dice.random() ** 2 * known)
        for step in range(known):
            if (number := (favourite + step) % known) not in self.active:
                return number
        return None


class _UnevenRoster(_Roster):
    """Known ones return by their activity, a few of them often. Many leave for good, and others come back after weeks."""

    def __init__(self, parameters: Parameters, visits: int, dice: Dice) -> None:
        super().__init__(parameters, visits, dice)
        self.activities: list[float] = []  # of the identities up to each one, added up
        self.absences: list[tuple[float, float]] = []  # the places between which an identity stays away

    def next_visit(self, place: int) -> Visit:
        visit = super().next_visit(place)
        if visit.number == len(self.activities):
            self.activities.append(self.dice.random() ** 3 + sum(self.activities[-1:]))
            self.absences.append(self._absence(place))
        return visit

    def _absence(self, joined: int) -> tuple[float, float]:
        kind, left = self.dice.random(), joined + self.dice.random() * (self.visits - joined)
        if kind < _CHURN:
            return left, self.visits
        return left, left + (self.visits / 2 if kind < _CHURN + _PAUSE else 0)

    def _returning(self, place: int) -> int | None:
        for _ in range(1_000):
            number = bisect(self.activities, self.dice.random() * self.activities[-1])
            left, back = self.absences[number]
            if number not in self.active and not left < place < back:
                return number
        return super()._returning(place)  # of a handful, everybody else is away: somebody comes back
