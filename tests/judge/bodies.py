"""What a landed delivery says, read from its body by the words of the contract."""

import base64
import json
import math
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple


class Landed(NamedTuple):
    """A row of landing.webhooks."""

    delivery_id: str
    environment: str
    received_at: datetime
    landed_at: datetime
    payload_hash: str
    is_verified: bool
    body_encoding: str
    body: str


class Number(float):
    """A number with a point or an exponent, and how it was written."""

    def __new__(cls, text: str):
        number = super().__new__(cls, text)
        number.text = text
        return number


class Flag(NamedTuple):
    """What a delivery says of one feature."""

    feature_id: int
    name: str
    is_multivariate: bool
    enabled: bool
    variation: str
    value: str | None
    value_type: str
    reason: str
    percentage: float | None
    initial_value: Any
    is_ambiguous: bool

    @property
    def state(self) -> tuple:
        """What a spell holds constant."""
        return self.variation, self.enabled, self.value, self.value_type, self.reason

    @property
    def exposure(self) -> tuple:
        """The key of an exposure, beside environment and identity."""
        return self.feature_id, self.variation, self.enabled, self.reason


class Segment(NamedTuple):
    """What a delivery says of one segment."""

    name: str
    is_member: bool


class Trait(NamedTuple):
    """What a delivery says of one trait."""

    value: Any
    text: str | None
    value_type: str
    is_transient: bool


@dataclass
class Delivery:
    """A delivery with what it says. `flags`, `segments`, `traits` are None where the body says nothing of them."""

    id: str
    environment: str
    received_at: datetime
    landed_at: datetime
    payload_hash: str
    bytes: int
    body: str
    kind: str = "quarantined"
    # The reasons of quarantine that the contract allows; none: any reason will do.
    reasons: frozenset = frozenset()
    identity: str | None = None
    flags: dict[int, Flag] | None = None
    segments: dict[int, Segment] | None = None
    traits: dict[str, Trait] | None = None
    event: dict = field(default_factory=dict)
    is_test: bool = False
    # False for all but the last of one identity's deliveries in the same microsecond.
    is_state: bool = True

    @property
    def order(self) -> tuple:
        return self.received_at, self.id


class Unreadable(Exception):
    """The body cannot be read, for one of these reasons (none named: for whatever reason)."""

    def __init__(self, *reasons: str):
        super().__init__(*reasons)
        self.reasons = frozenset(reasons)


class History:
    """All deliveries of a landing, each once, in order; and the clock of each environment."""

    def __init__(self, rows: list[Landed], test_identities: set[tuple[str | None, str]] = frozenset()):
        first: dict[str, Landed] = {}
        for row in sorted(rows, key=lambda row: row.landed_at):
            first.setdefault(row.delivery_id, row)
        self.deliveries = sorted((read(row) for row in first.values()), key=lambda d: d.order)
        self.clock = {d.environment: d.received_at for d in self.deliveries}
        for d in self.deliveries:
            d.is_test = (d.environment, d.identity) in test_identities or (
                None,
                d.identity,
            ) in test_identities
        last = {(d.environment, d.identity, d.received_at): d for d in self.deliveries}
        for d in self.deliveries:
            d.is_state = last[d.environment, d.identity, d.received_at] is d

    @property
    def evaluations(self) -> list[Delivery]:
        """All evaluations except those of test identities. Includes those that another one in the same microsecond supersedes."""
        return [d for d in self.deliveries if d.kind == "evaluation" and not d.is_test]

    def by_identity(self) -> dict[tuple[str, str], list[Delivery]]:
        """The evaluations of each identity that make state, in order."""
        found = defaultdict(list)
        for d in self.evaluations:
            if d.is_state:
                found[d.environment, d.identity].append(d)
        return found


def read(row: Landed) -> Delivery:
    """Read one delivery. What cannot be read becomes a delivery of kind `quarantined`."""
    raw = base64.b64decode(row.body) if row.body_encoding == "base64" else row.body.encode()
    delivery = Delivery(
        *(
            row.delivery_id,
            row.environment,
            row.received_at,
            row.landed_at,
            row.payload_hash,
            len(raw),
            row.body,
        )
    )
    try:
        if row.body_encoding == "base64":
            raise Unreadable("not_utf8")
        body = _parsed(row.body)
        if not isinstance(body, dict):
            raise Unreadable("unknown_shape")
        if body.keys() & ARRAYS.keys():
            _read_evaluation(body, delivery)
        elif "event_type" in body:
            _read_event(body, delivery)
        else:
            raise Unreadable("unknown_shape")
    except Unreadable as error:
        delivery.kind, delivery.reasons = "quarantined", error.reasons
        delivery.identity = delivery.flags = delivery.segments = delivery.traits = None
    return delivery


def _parsed(text: str) -> Any:
    try:
        # Of a key that occurs twice the first counts. NaN and Infinity are floats, which Python writes so.
        body = json.loads(
            text,
            parse_float=Number,
            parse_constant=Number,
            object_pairs_hook=lambda pairs: dict(reversed(pairs)),
        )
    except ValueError:
        raise Unreadable("not_json") from None
    except RecursionError:
        raise Unreadable from None
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Unreadable from None  # half a surrogate pair: no warehouse text can hold it
    return body


def _read_evaluation(body: dict, delivery: Delivery) -> None:
    if not isinstance(body.get("identity"), str):
        raise Unreadable("identity_not_a_string")
    for name in ARRAYS:
        if body.get(name) is not None and not isinstance(body[name], list):
            raise Unreadable(f"{name}_not_an_array")
    for name, faults in ARRAYS.items():
        # Of one element the first reason; of several elements one that is no object, else the first in the alphabet.
        wrong = [
            (isinstance(element, dict), fault)
            for element in body.get(name) or []
            for fault in faults(element)[:1]
        ]
        if wrong:
            raise Unreadable(min(wrong)[1])
    delivery.kind, delivery.identity = "evaluation", body["identity"]
    # Of an element that occurs twice the last counts.
    if body.get("flags") is not None:
        delivery.flags = {element["feature"]["id"]: _flag(element) for element in body["flags"]}
    if body.get("segments") is not None:
        delivery.segments = {
            element["id"]: Segment(element.get("name"), element["member"]) for element in body["segments"]
        }
    if body.get("traits") is not None:
        delivery.traits = {element["trait_key"]: _trait(element) for element in body["traits"]}


def _flag_faults(element: Any) -> list[str]:
    feature = element.get("feature") if isinstance(element, dict) else None
    if not isinstance(feature, dict) or feature.get("id") is None or element.get("enabled") is None:
        return ["flag_without_id_or_state"]
    return _wrong(
        flag_feature_id_not_an_integer=_is_id(feature["id"]),
        flag_enabled_not_a_boolean=isinstance(element["enabled"], bool),
        flag_feature_name_not_a_string=isinstance(feature.get("name"), str | None),
        flag_feature_type_not_a_string=isinstance(feature.get("type"), str | None),
        flag_percentage_allocation_not_a_number=_is_number(element.get("percentage_allocation")),
    )


def _segment_faults(element: Any) -> list[str]:
    if not isinstance(element, dict) or element.get("id") is None or element.get("member") is None:
        return ["segment_without_id_or_membership"]
    return _wrong(
        segment_id_not_an_integer=_is_id(element["id"]),
        segment_member_not_a_boolean=isinstance(element["member"], bool),
        segment_name_not_a_string=isinstance(element.get("name"), str | None),
    )


def _trait_faults(element: Any) -> list[str]:
    if not isinstance(element, dict) or element.get("trait_key") is None:
        return ["trait_without_key"]
    return _wrong(
        trait_key_not_a_string=isinstance(element["trait_key"], str),
        trait_transient_not_a_boolean=isinstance(element.get("transient"), bool | None),
    )


ARRAYS = {"flags": _flag_faults, "segments": _segment_faults, "traits": _trait_faults}


def _wrong(**is_right: bool) -> list[str]:
    """What is of another type, in an element that lacks nothing."""
    return [reason for reason, right in is_right.items() if not right]


def _is_id(value: Any) -> bool:
    """A JSON integer that a bigint can hold."""
    return type(value) is int and -(2**63) <= value < 2**63


def _is_number(value: Any) -> bool:
    return value is None or (type(value) in (int, Number) and math.isfinite(value))


def _flag(element: dict) -> Flag:
    feature, enabled = element["feature"], element["enabled"]
    value = element.get("feature_state_value")
    text, value_type = text_of(value)
    is_multivariate = feature.get("type") == "MULTIVARIATE"
    has_percentage = "percentage_allocation" in element
    percentage = element.get("percentage_allocation")
    is_falsy = value is not None and (
        value == "" or value is False or (value == 0 and value_type == "integer")
    )
    if not enabled:
        variation = "off"
    elif is_multivariate and percentage is None and (has_percentage or value is None):
        variation = "control"
    else:
        variation = "on" if value is None else text
    if is_multivariate and percentage is not None and value is None and enabled:
        variation = "control"
    if element.get("identity") is not None:
        reason = "identity_override"
    elif element.get("feature_segment") is not None:
        reason = "segment_override"
    else:
        reason = "environment_default"
    return Flag(
        *(feature["id"], feature.get("name"), is_multivariate, enabled, variation, text, value_type, reason),
        None if percentage is None else float(percentage),
        feature.get("initial_value"),
        enabled and is_multivariate and not has_percentage and is_falsy,
    )


def _trait(element: dict) -> Trait:
    value = element.get("trait_value")
    return Trait(value, *text_of(value), element.get("transient") is True)


def text_of(value: Any) -> tuple[str | None, str]:
    """The text of a value, and its type."""
    if value is None:
        return None, "null"
    if isinstance(value, bool):
        return ("true" if value else "false"), "boolean"
    if isinstance(value, int):
        return str(value), "integer"
    if isinstance(value, float):
        return value.text, "float"
    if isinstance(value, str):
        return value, "string"
    return json.dumps(value), "json"


def _read_event(body: dict, delivery: Delivery) -> None:
    if not isinstance(body["event_type"], str) or not isinstance(body.get("data"), dict):
        raise Unreadable("unknown_shape")
    delivery.kind = "audit_log" if body["event_type"] == "AUDIT_LOG_CREATED" else "flag_change"
    delivery.event = body
