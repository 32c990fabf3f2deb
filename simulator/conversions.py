"""Outcomes with a known cause: events of identities after they got a variation, with a true lift."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, TextIO

from flagsmith_warehouse.simulator.dice import Dice
from flagsmith_warehouse.simulator.features import text_of
from flagsmith_warehouse.simulator.world import World


class Conversion(NamedTuple):
    """One event of one identity, the columns of `var('conversion_events')`. `occurred_at` is naive UTC."""

    identity: str
    event_name: str
    occurred_at: datetime
    value: float
    environment: str


@dataclass(frozen=True)
class Effect:
    """The effect of a feature on those who get it.

    `purchase`: at most one an identity, within `window` after the first exposure, with the probability `rate`
    in control and `rate * (1 + lift)` in a variation; the value does not depend on the variation, so that the
    true lift of revenue is the same. `page_view`: before and after the exposure, more of those who spend more
    (for variance reduction), whatever the variation: true lift 0.
    """

    feature_name: str = "checkout_button"
    lifts: Mapping[str, float] = field(
        default_factory=lambda: {"variant_a": 0.05, "variant_b": 0.40, "variant_c": -0.10}
    )
    rate: float = 0.3
    window: timedelta = timedelta(days=7)

    def purchase_probability(self, variation: str) -> float:
        return self.rate * (1 + self.lifts.get(variation, 0.0))


class Exposure(NamedTuple):
    """The first variation of an identity, and when it got it; `arm` is the text of the drawn option, or `control`."""

    environment: str
    identity: str
    arm: str
    first_exposed_at: datetime


def first_exposures(world: World, feature_name: str) -> list[Exposure]:
    """Return the first evaluation of each identity in which the feature was on, in time order.

    Raises ValueError if nobody was ever given the feature.
    """
    exposures: dict[tuple[str, str], Exposure] = {}
    for received_at, environment, state in world.evaluations():
        key = (environment, state.identity)
        flag = next((one for one in state.flags if one.feature.name == feature_name), None)
        if key not in exposures and flag is not None and flag.enabled:
            arm = "control" if flag.option is None else text_of(flag.value)
            exposures[key] = Exposure(*key, arm, received_at)
    if not exposures:
        raise ValueError(
            f"Nobody in this world is given the feature {feature_name!r}: name a feature that is on"
        )
    return list(exposures.values())


def conversions(world: World, effect: Effect | None = None) -> list[Conversion]:
    """Return all events of this world, in time order. The same world gives the same events."""
    effect = effect or Effect()
    ends_at = world.parameters.starts_at + world.parameters.span
    events: list[Conversion] = []
    for exposure in first_exposures(world, effect.feature_name):
        dice = Dice(f"{world.parameters.seed} conversions {exposure.environment} {exposure.identity}")
        events.extend(_events_of(exposure, effect, ends_at, dice))
    return sorted(events, key=lambda event: (event.occurred_at, event.environment, event.identity))


def _events_of(exposure: Exposure, effect: Effect, ends_at: datetime, dice: Dice) -> Iterator[Conversion]:
    """Yield the events of one identity, whose tendency to spend is between 0.5 and 1.5."""
    spending = 0.5 + dice.random()
    exposed_at = exposure.first_exposed_at
    after = max(min(effect.window, ends_at - exposed_at), timedelta(seconds=1))

    def event(name: str, occurred_at: datetime, value: float) -> Conversion:
        moment = occurred_at.replace(microsecond=0) + timedelta(seconds=1)
        return Conversion(exposure.identity, name, moment, value, exposure.environment)

    if dice.chance(effect.purchase_probability(exposure.arm)):
        amount = round(spending * (20 + 40 * dice.random()), 2)
        yield event("purchase", exposed_at + dice.random() * after, amount)
    for start, length, most in ((exposed_at - effect.window, effect.window, 2), (exposed_at, after, 4)):
        for _ in range(most):
            share = dice.random() * 0.99  # events from before the exposure stay before it
            if dice.chance(spending / 4):
                yield event("page_view", start + share * length, 1.0)


def write(events: Iterable[Conversion], file: TextIO) -> None:
    """Write events as CSV with a header, times as `2026-09-01 12:00:00`."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(Conversion._fields)
    writer.writerows(events)
