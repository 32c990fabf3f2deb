"""The simulated Flagsmith project: features of every kind, segments with rules, and changes of them.

It is one environment on one Flagsmith server. Ids begin at 1 on every server, so two environments on two servers
have the same integers.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from flagsmith_warehouse.simulator.dice import Dice
from flagsmith_warehouse.simulator.features import Feature, Option, Setting, Value, text_of

OLD_WEIGHTS = (30.0, 30.0, 10.0)
NEW_WEIGHTS = (10.0, 50.0, 10.0)  # a fifth moves from variant_a to variant_b; control does not change

# The share of the time span at which these weights change; where there is a sale, it begins then.
WEIGHTS_SHARE = 0.45

ROLLOUT_SEGMENT = 12


def _segment(identifier: int, name: str, operator: str, value: str, trait: str | None = None) -> dict:
    condition = {"property": trait, "operator": operator, "value": value}
    inner = {"type": "ANY", "conditions": [condition], "rules": []}
    return {"id": identifier, "name": name, "rules": [{"type": "ALL", "conditions": [], "rules": [inner]}]}


SEGMENTS = (
    _segment(1, "country is FR", "EQUAL", "FR", "country"),
    _segment(2, "age > 30", "GREATER_THAN", "30", "age"),
    _segment(3, "corporate e-mail", "REGEX", r".*@corp\.example$", "email"),
    _segment(4, "20% split", "PERCENTAGE_SPLIT", "20"),
    _segment(5, "version after 1.2.3", "GREATER_THAN", "1.2.3:semver", "app_version"),
    _segment(6, "paying", "IN", "pro,enterprise", "plan"),
    _segment(7, "beta testers", "EQUAL", "true", "beta"),
    _segment(8, "contains é ☃", "CONTAINS", "é", "nick"),
    _segment(9, "country known", "IS_SET", "", "country"),
    _segment(10, "even uid", "MODULO", "2|0", "uid"),
    _segment(11, "came 5 times", "GREATER_THAN_INCLUSIVE", "5", "visits"),
    _segment(ROLLOUT_SEGMENT, "experiment-1-rollout", "PERCENTAGE_SPLIT", "40"),
)


@dataclass(frozen=True)
class Plan:
    """The initial set-up of a feature, as listed in the catalogue."""

    name: str
    value: Value = None
    enabled: bool = True
    options: tuple[tuple[Value, float], ...] = ()
    description: str | None = None
    segment_override: tuple[int, dict] | None = None
    has_identity_override: bool = False


# The most useful features come first, because a world with fewer features takes the first ones.
CATALOGUE = (
    Plan(
        "checkout_button",
        "control",
        options=tuple(zip(("variant_a", "variant_b", "variant_c"), OLD_WEIGHTS, strict=True)),
        description="Which checkout button sells best; weights change mid-way",
    ),
    Plan("dark_mode"),
    Plan("theme", "blue"),
    Plan(
        "new_onboarding",
        "control",
        options=(("guided", 0.0),),
        description="An experiment that Flagsmith splits inside a segment override",
        segment_override=(ROLLOUT_SEGMENT, {"value": "control", "weights": (50.0,)}),
    ),
    Plan("page_size", 42),
    Plan(
        "french_banner", "default", enabled=False, segment_override=(1, {"enabled": True, "value": "bonjour"})
    ),
    Plan("support_chat", "default", has_identity_override=True),
    Plan("hidden_carousel", "still", enabled=False, options=(("moving", 50.0),)),
    Plan("search_ranking", "same", options=(("same", 20.0), ("other", 30.0))),
    Plan("service_limits", '{"a": 1, "b": ["x", null, true], "u": "\\u00e9/\\"q\\""}'),
    Plan("welcome_text", ""),
    Plan("free_credits", 0),
    Plan("cookie_banner", True),
    Plan("legacy_banner", False),
    Plan("maintenance_page", enabled=False, description="a flag that is off"),
    Plan(
        "upsell",
        "control",
        options=(("offer", 0.0),),
        segment_override=(2, {"value": "control", "weights": (50.0,)}),
    ),
    Plan("onboarding_tour", "control", options=(("short", 50.0),), has_identity_override=True),
    Plan("autoplay", True, options=((False, 50.0),)),
    Plan("batch_size", 1, options=((2, 33.3), (0, 33.3))),
    Plan(
        "üñïcode_флаг_旗",
        "значение ☃ 𝄞",
        description='описание — "quotes" \\ backslash / slash \u2028 <b>',
    ),
    Plan("legacy_menu", "old"),
    Plan("button_colour", "grey", options=(("green", 50.0), ("orange", 50.0))),
)
_PADDING_WORDS = ("banner", "billing", "cart", "dashboard", "export", "invite", "mobile", "pricing", "search")
_PADDING_VALUES = (None, None, None, "blue", "v2", 42, '{"ttl":30,"hosts":["a","b"]}')


def plans(count: int, dice: Dice) -> Iterator[Plan]:
    """Yield the given number of plans: first the catalogue, then plain flags with made-up names."""
    yield from CATALOGUE[:count]
    for number in range(len(CATALOGUE), count):
        name = f"{dice.pick(_PADDING_WORDS)}_{dice.pick(_PADDING_WORDS)}_{number}"
        yield Plan(name, dice.pick(_PADDING_VALUES), enabled=dice.chance(0.7))


def build(
    plan: Plan, feature_id: int, created_at: datetime, overridden: dict[str, int], option_id: int
) -> Feature:
    """Set up a feature. `overridden`: identities with their own value, and Flagsmith's integers for them."""
    options = tuple(Option(option_id + place, value) for place, (value, _) in enumerate(plan.options))
    default = Setting(
        id=2 * feature_id - 1,
        enabled=plan.enabled,
        value=plan.value,
        weights=tuple(weight for _, weight in plan.options),
    )
    feature = Feature(
        id=feature_id,
        name=plan.name,
        created_date=f"{created_at:%Y-%m-%dT%H:%M:%S.%fZ}",
        default=default,
        description=plan.description,
        initial_value=text_of(plan.value),
        default_enabled=plan.enabled,
        options=options,
    )
    if plan.segment_override is not None:
        segment, changes = plan.segment_override
        feature = with_segment_override(feature, segment, **changes)
    return with_identity_overrides(feature, overridden) if plan.has_identity_override else feature


def with_default(feature: Feature, **changes: object) -> Feature:
    return replace(feature, default=replace(feature.default, **changes))


def with_segment_override(feature: Feature, segment: int, **changes: object) -> Feature:
    """Put an override for a segment before the others: a new feature state, and a new override row."""
    row = 1_000 + feature.id
    override = replace(
        feature.default, id=10_000 + feature.id, segment=segment, feature_segment=row, **changes
    )
    return replace(feature, segment_overrides=(override, *feature.segment_overrides))


def without_segment_override(feature: Feature) -> Feature:
    return replace(feature, segment_overrides=feature.segment_overrides[1:])


def with_identity_overrides(feature: Feature, identities: dict[str, int]) -> Feature:
    """Give identities (name → Flagsmith's integer) their own value: the first variant, or the word `special`."""
    value = feature.options[0].value if feature.options else "special"
    weights = (100.0,) + (0.0,) * (len(feature.options) - 1) if feature.options else ()
    overrides = {
        name: Setting(id=100_000 * feature.id + number, value=value, weights=weights, identity=number)
        for name, number in identities.items()
    }
    return replace(feature, identity_overrides=overrides)


@dataclass(frozen=True)
class Edit:
    """A change at a given share of the time span. `make` returns the new feature, or None to delete it."""

    share: float
    feature_name: str
    make: Callable[[Feature, dict[str, int]], Feature | None]


EDITS = (
    Edit(0.20, "theme", lambda feature, _: with_default(feature, value="green")),
    Edit(0.30, "page_size", lambda feature, _: with_segment_override(feature, 11, value=100)),
    Edit(WEIGHTS_SHARE, "checkout_button", lambda feature, _: with_default(feature, weights=NEW_WEIGHTS)),
    Edit(0.50, "dark_mode", lambda feature, _: with_default(feature, enabled=False)),
    Edit(0.55, "cookie_banner", lambda feature, people: with_identity_overrides(feature, people)),
    Edit(0.60, "dark_mode", lambda feature, _: with_default(feature, enabled=True)),
    Edit(0.70, "cookie_banner", lambda feature, _: with_identity_overrides(feature, {})),
    Edit(0.75, "legacy_menu", lambda feature, _: None),
    Edit(0.85, "page_size", lambda feature, _: without_segment_override(feature)),
)
# The end of the experiment, in a world with a sale.
SWITCH_OFF = Edit(0.90, "checkout_button", lambda feature, _: with_default(feature, enabled=False))
# A feature that is added during the traffic. From then on everybody's flags contain it.
LATE_PLAN, LATE_SHARE = Plan("assistant", "v1", description="Added while traffic runs"), 0.65

Features = dict[str, Feature]


def versions(
    first: Features,
    starts_at: datetime,
    span: timedelta,
    overridden: dict[str, int],
    edits: tuple[Edit, ...] = EDITS,
) -> list[tuple[datetime, Features]]:
    """Return the features (by name) from each moment of change on, in time order. The first entry has no beginning."""
    history = [(starts_at, first)]
    late_at = starts_at + LATE_SHARE * span
    late = build(LATE_PLAN, len(first) + 1, late_at, {}, option_id=0)
    for edit in sorted([*edits, Edit(LATE_SHARE, late.name, lambda feature, _: feature)], key=_share):
        before = {late.name: late, **history[-1][1]}.get(edit.feature_name)
        if before is not None:
            after = edit.make(before, overridden)
            history.append((starts_at + edit.share * span, _put(history[-1][1], before, after)))
    return history


def _share(edit: Edit) -> float:
    return edit.share


def _put(features: Features, before: Feature, after: Feature | None) -> Features:
    others = {name: feature for name, feature in features.items() if name != before.name}
    both = [*others.values(), *([] if after is None else [after])]
    return {feature.name: feature for feature in sorted(both, key=lambda feature: feature.id)}


@dataclass(frozen=True)
class Change:
    """One change of one layer of a feature. `before` is None for a new layer, `after` is None for a deleted one.

    `identity` is the identifier if the layer is an identity override.
    """

    changed_at: datetime
    feature: Feature
    before: Setting | None
    after: Setting | None
    identity: str | None = None
    changed_by: str = "admin@example.com"

    @property
    def event_type(self) -> str:
        return "FLAG_DELETED" if self.after is None else "FLAG_UPDATED"


def changes(history: list[tuple[datetime, Features]]) -> Iterator[Change]:
    """Yield the differences between versions, layer by layer. A deleted feature is one change."""
    for (_, before), (changed_at, after) in pairwise(history):
        for name in sorted(before.keys() | after.keys()):
            yield from _changes_of_feature(changed_at, before.get(name), after.get(name))


def _changes_of_feature(at: datetime, before: Feature | None, after: Feature | None) -> Iterator[Change]:
    if before is None or after is None:
        yield Change(at, after or before, before and before.default, after and after.default)
        return
    old, new = before.layers, after.layers
    for layer in {**old, **new}:
        if old.get(layer) != new.get(layer):
            yield Change(at, after, old.get(layer), new.get(layer), layer[1])
