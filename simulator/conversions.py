"""Outcomes with a known cause: events of identities after they got a variation, with a true lift."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, TextIO

from flagsmith_warehouse.simulator.dice import Dice
from flagsmith_warehouse.simulator.features import Flag, text_of
from flagsmith_warehouse.simulator.messages import State
from flagsmith_warehouse.simulator.parameters import Parameters
from flagsmith_warehouse.simulator.project import WEIGHTS_SHARE
from flagsmith_warehouse.simulator.world import World

SALE = 2.0  # times the usual amount of a purchase


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

    Where the world has a sale, identities go on buying: at each visit `rate` purchases on average, `rate * (1 + lift)`
    if that visit has the variation, of twice the amount once the sale has begun (`price_level`). Each call is a page view.
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


def price_level(at: datetime, parameters: Parameters) -> float:
    """Return the amount of a purchase at this moment (naive UTC), as a multiple of the usual one."""
    is_sale = parameters.has_sale and at >= parameters.starts_at + WEIGHTS_SHARE * parameters.span
    return SALE if is_sale else 1.0


def flag_of(state: State, feature_name: str) -> Flag | None:
    """Return the flag of this feature if the state has it and it is on, else None."""
    return next((one for one in state.flags if one.feature.name == feature_name and one.enabled), None)


def _arm(flag: Flag) -> str:
    return "control" if flag.option is None else text_of(flag.value)


def first_exposures(world: World, feature_name: str) -> list[Exposure]:
    """Return the first evaluation of each identity in which the feature was on, in time order.

    Raises ValueError if nobody was ever given the feature.
    """
    exposures: dict[tuple[str, str], Exposure] = {}
    for received_at, environment, state in world.evaluations():
        key = (environment, state.identity)
        if key not in exposures and (flag := flag_of(state, feature_name)) is not None:
            exposures[key] = Exposure(*key, _arm(flag), received_at)
    if not exposures:
        raise _nobody_is_given(feature_name)
    return list(exposures.values())


def _nobody_is_given(feature_name: str) -> ValueError:
    return ValueError(
        f"Nobody in this world is given the feature {feature_name!r}: name a feature that is on"
    )


def conversions(world: World, effect: Effect | None = None) -> list[Conversion]:
    """Return all events of this world, in time order. The same world gives the same events.

    Raises ValueError if nobody was ever given the feature of the effect.
    """
    effect = effect or Effect()
    ends_at = world.parameters.starts_at + world.parameters.span
    events: list[Conversion] = []
    if world.parameters.has_sale:
        events.extend(_events_of_calls(world, effect))
    else:
        for exposure in first_exposures(world, effect.feature_name):
            dice = Dice(f"{world.parameters.seed} conversions {exposure.environment} {exposure.identity}")
            events.extend(_events_of(exposure, effect, ends_at, dice))
    return sorted(events, key=lambda event: (event.occurred_at, event.environment, event.identity))


def _events_of_calls(world: World, effect: Effect) -> Iterator[Conversion]:
    """Yield what all identities do at their calls. What they buy depends on the variation of that call, not of an earlier one.

    Raises ValueError at the end if nobody was ever given the feature.
    """
    is_given = False
    dice = Dice(f"{world.parameters.seed} conversions")
    for received_at, environment, state in world.evaluations():
        moment = received_at.replace(microsecond=0) + timedelta(seconds=1)
        flag = flag_of(state, effect.feature_name)
        is_given = is_given or flag is not None
        probability = effect.purchase_probability("control" if flag is None else _arm(flag))
        yield Conversion(state.identity, "page_view", moment, 1.0, environment)
        if dice.chance(probability / world.parameters.calls_per_state):
            amount = (20 + 40 * dice.random()) * price_level(received_at, world.parameters)
            yield Conversion(state.identity, "purchase", moment, round(amount, 2), environment)
    if not is_given:
        raise _nobody_is_given(effect.feature_name)


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
