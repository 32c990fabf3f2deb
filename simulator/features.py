"""Features as set up in Flagsmith, and the flag that an identity gets."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from flagsmith_warehouse.simulator.bucketing import choose, percentage
from flagsmith_warehouse.simulator.wire import serialise

Value = str | int | bool | None

VALUE_TYPES = {str: "string", int: "integer", bool: "boolean", float: "float", type(None): "null"}


def text_of(value: object) -> str | None:
    """Return the variation name of a value: strings as they are, integers in decimal, `true`/`false`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


@dataclass(frozen=True)
class Option:
    """One variant of a multivariate feature."""

    id: int
    value: Value


@dataclass(frozen=True)
class Setting:
    """The setting of a feature in one layer: the environment default, a segment override or an identity override.

    `id` is Flagsmith's feature state, which also decides the bucket; `weights` are percentages, in the order
    of the feature's options. `segment` and `feature_segment` are set for a segment override, `identity`
    (Flagsmith's integer) for an identity override.
    """

    id: int
    enabled: bool = True
    value: Value = None
    weights: tuple[float, ...] = ()
    segment: int | None = None
    feature_segment: int | None = None
    identity: int | None = None

    @property
    def reason(self) -> str:
        if self.identity is not None:
            return "identity_override"
        return "segment_override" if self.segment is not None else "environment_default"


@dataclass(frozen=True)
class Feature:
    """A feature of one environment with all its layers. A change makes a new Feature."""

    id: int
    name: str
    created_date: str
    default: Setting
    environment: int = 1
    description: str | None = None
    initial_value: str | None = None
    default_enabled: bool = True
    options: tuple[Option, ...] = ()
    segment_overrides: tuple[Setting, ...] = ()
    identity_overrides: Mapping[str, Setting] = field(default_factory=dict)

    @property
    def type(self) -> str:
        return "MULTIVARIATE" if self.options else "STANDARD"

    @property
    def layers(self) -> "dict[tuple[int, str | None], Setting]":
        """Every setting by (segment or 0, identifier or None)."""
        segments = {(one.segment, None): one for one in self.segment_overrides}
        identities = {(0, name): one for name, one in self.identity_overrides.items()}
        return {(0, None): self.default, **segments, **identities}

    def evaluate(self, identity: str, environment_key: str, members: Collection[int]) -> "Flag":
        """Return the flag that Flagsmith gives this identity, who is in the segments `members` (ids)."""
        setting = self._setting_for(identity, members)
        if setting.identity is not None or not self.options:
            return self._flag(setting, None)
        return self._flag(setting, choose(setting.weights, percentage(setting.id, environment_key, identity)))

    def _setting_for(self, identity: str, members: Collection[int]) -> Setting:
        if (override := self.identity_overrides.get(identity)) is not None:
            return override
        return next((one for one in self.segment_overrides if one.segment in members), self.default)

    def _flag(self, setting: Setting, option: int | None) -> "Flag":
        """Return the single Flag object for a setting and an option. Identities share it and its text."""
        if (flag := self._flags.get((setting.id, option))) is None:
            flag = self._flags[setting.id, option] = Flag(self, setting, option)
        return flag

    @cached_property
    def _flags(self) -> "dict[tuple[int, int | None], Flag]":
        return {}

    @cached_property
    def document(self) -> dict:
        """The `feature` object as Flagsmith writes it into bodies."""
        return {
            "created_date": self.created_date,
            "default_enabled": self.default_enabled,
            "description": self.description,
            "id": self.id,
            "initial_value": self.initial_value,
            "name": self.name,
            "type": self.type,
        }


@dataclass(frozen=True, eq=False)
class Flag:
    """One feature in one evaluation, as intended and not as read from a body.

    `option` is the position of the variant that was drawn; None is control, or a feature without variants.
    """

    feature: Feature
    setting: Setting
    option: int | None

    @property
    def enabled(self) -> bool:
        return self.setting.enabled

    @property
    def assignment_reason(self) -> str:
        return self.setting.reason

    @property
    def is_multivariate(self) -> bool:
        return bool(self.feature.options)

    @cached_property
    def value(self) -> Value:
        return self.setting.value if self.option is None else self.feature.options[self.option].value

    @property
    def value_type(self) -> str:
        return VALUE_TYPES[type(self.value)]

    @property
    def has_percentage(self) -> bool:
        """Whether the body carries `percentage_allocation`: not for null, "", 0 and false."""
        return bool(self.value)

    @cached_property
    def percentage_allocation(self) -> float | None:
        """The weight of the first option with this value; None where there is none or the key is left out."""
        for option, weight in zip(self.feature.options, self.setting.weights, strict=False):
            if self.has_percentage and (type(option.value), option.value) == (type(self.value), self.value):
                return weight
        return None

    @cached_property
    def variation(self) -> str:
        """The variation by the contract's definition (`fct_flag_exposures`)."""
        if not self.enabled:
            return "off"
        if self.is_multivariate:
            is_control = self.percentage_allocation is None if self.has_percentage else self.value is None
            return "control" if is_control else text_of(self.value)
        return "on" if self.value is None else text_of(self.value)

    @property
    def document(self) -> dict:
        """The element of `flags[]`, as Flagsmith writes it."""
        percentage_key = {"percentage_allocation": self.percentage_allocation} if self.has_percentage else {}
        return {
            "enabled": self.enabled,
            "environment": self.feature.environment,
            "feature": self.feature.document,
            "feature_segment": self.setting.feature_segment,
            "feature_state_value": self.value,
            "id": self.setting.id,
            "identity": self.setting.identity,
            **percentage_key,
        }

    @cached_property
    def text(self) -> str:
        """The serialised element of `flags[]`. It is cached, because it is the same for many identities."""
        return serialise(self.document)
