"""The messages that Flagsmith sends: an evaluation of an identity, or a webhook about a changed flag.

The objects hold the intended content, and `.body` writes it as bytes. Nothing is read back from a body.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from flagsmith_warehouse.simulator.features import Feature, Flag, Setting
from flagsmith_warehouse.simulator.project import SEGMENTS, Change
from flagsmith_warehouse.simulator.wire import serialise

SEGMENT_NAMES: dict[int, str] = {segment["id"]: segment["name"] for segment in SEGMENTS}
_SEGMENT_TEXTS = {
    (identifier, member): serialise({"id": identifier, "member": member, "name": name})
    for identifier, name in SEGMENT_NAMES.items()
    for member in (True, False)
}


class Trait(NamedTuple):
    """A trait as evaluated; `id` is None for a transient trait."""

    id: int | None
    key: str
    value: str | int | float | bool | None
    is_transient: bool

    @property
    def document(self) -> dict:
        """The element of `traits[]`."""
        return {
            "id": self.id,
            "trait_key": self.key,
            "trait_value": self.value,
            "transient": self.is_transient,
        }


@dataclass(frozen=True, eq=False)
class State:
    """The state of an identity in Flagsmith until something changes. `members`: segment id → member."""

    identity: str
    flags: tuple[Flag, ...]
    members: dict[int, bool]
    traits: tuple[Trait, ...]

    @cached_property
    def body(self) -> bytes:
        """The bytes, joined from parts that identities share."""
        flags = ", ".join(flag.text for flag in self.flags)
        segments = ", ".join(_SEGMENT_TEXTS[item] for item in self.members.items())
        traits = serialise([trait.document for trait in self.traits])
        identity = serialise(self.identity)
        text = f'{{"flags": [{flags}], "identity": {identity}, "segments": [{segments}], "traits": {traits}}}'
        return text.encode("ascii")


class Evaluation(NamedTuple):
    """One call of an identity. `received_at` is naive UTC."""

    received_at: datetime
    environment: str
    state: State

    @property
    def body(self) -> bytes:
        return self.state.body

    @property
    def sender(self) -> str:
        """Deliveries with the same key (of the same identity) stay in order."""
        return self.state.identity


class FlagChange(NamedTuple):
    """The environment webhook about a change. `received_at` is naive UTC."""

    received_at: datetime
    environment: str
    change: Change

    @property
    def body(self) -> bytes:
        return serialise(self.document).encode("ascii")

    @property
    def sender(self) -> str:
        return ""

    @property
    def document(self) -> dict:
        """The webhook, as captured from Flagsmith: it has the old value only if the value itself changed."""
        change = self.change
        data = {
            "changed_by": change.changed_by,
            "new_state": self._state(change.after),
            "timestamp": f"{change.changed_at:%Y-%m-%dT%H:%M:%S.%fZ}",
        }
        if change.before is not None:
            data["previous_state"] = self._state(change.before)
            if change.after is not None and change.after.value == change.before.value:
                data["previous_state"]["feature_state_value"] = None
        return {"data": data, "event_type": change.event_type}

    def _state(self, setting: Setting | None) -> dict | None:
        if setting is None:
            return None
        feature = self.change.feature
        return {
            "enabled": setting.enabled,
            "environment": {"id": feature.environment, "name": self.environment},
            "feature": {**feature.document, "project": {"id": 1, "name": "Simulated project"}},
            "feature_segment": _override_row(setting),
            "feature_state_value": setting.value,
            "identity": setting.identity,
            "identity_identifier": self.change.identity,
            "multivariate_feature_state_values": _weights(feature, setting),
        }


def _override_row(setting: Setting) -> dict | None:
    if setting.segment is None:
        return None
    segment = {"description": None, "id": setting.segment, "name": SEGMENT_NAMES[setting.segment]}
    return {"priority": 0, "segment": segment}


def _weights(feature: Feature, setting: Setting) -> list[dict]:
    return [
        {
            "id": option.id,
            "multivariate_feature_option": {"id": option.id, "value": option.value},
            "percentage_allocation": weight,
        }
        for option, weight in zip(feature.options, setting.weights, strict=True)
    ]


Delivery = Evaluation | FlagChange
