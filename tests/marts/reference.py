"""Computes the marts in plain Python, from the raw bodies alone. The tests compare the SQL with it.

It uses brute force on purpose: it goes through every identity's history delivery by delivery, without sets, hashes or
spells of sets, and shares nothing with the models. Rows are dicts by mart, values as DuckDB returns them.
"""

import json
from base64 import b64decode
from collections import defaultdict
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple


class Landed(NamedTuple):
    """One row of landing.webhooks. Times are naive UTC."""

    delivery_id: str
    environment: str
    received_at: datetime
    landed_at: datetime
    payload_hash: str
    is_verified: bool
    body_encoding: str
    body: str
    original_payload_hash: str | None = None


ABSENT = object()


def raw_body(row: Landed) -> bytes:
    """Return the bytes that were sent."""
    return b64decode(row.body) if row.body_encoding == "base64" else row.body.encode()


def judge(row: Landed) -> tuple[str, str | None, dict]:
    """Return (kind, quarantine reason, parsed body) of a delivery."""
    if row.body_encoding != "utf-8":
        return "quarantined", "not_utf8", {}
    try:
        body = json.loads(row.body)
        json.dumps(body, ensure_ascii=False).encode()  # an escaped lone surrogate is not a text
    except (ValueError, RecursionError):
        return "quarantined", "not_json", {}
    if not isinstance(body, dict):
        return "quarantined", "unknown_shape", {}
    said = [key for key in ("flags", "segments", "traits") if key in body]
    if not said:
        if isinstance(body.get("event_type"), str) and isinstance(body.get("data"), dict):
            return ("audit_log" if body["event_type"] == "AUDIT_LOG_CREATED" else "flag_change"), None, body
        return "quarantined", "unknown_shape", {}
    if not isinstance(body.get("identity"), str):
        return "quarantined", "identity_not_a_string", {}
    for key in said:
        if body[key] is not None and not isinstance(body[key], list):
            return "quarantined", f"{key}_not_an_array", {}
    for key, fault in (
        ("flags", _fault_of_flag),
        ("segments", _fault_of_segment),
        ("traits", _fault_of_trait),
    ):
        if faults := sorted(filter(None, map(fault, body.get(key) or []))):
            return "quarantined", faults[0], {}
    return "evaluation", None, body


def _fault(missing: str, wrong: list[tuple[str, Any, tuple[type, ...]]]) -> str | None:
    """Return `missing` if the first two values are null; otherwise the name of the first value with a wrong type."""
    if any(value is None for _, value, _ in wrong[:2]):
        return missing
    return next(
        (name for name, value, kinds in wrong if value is not None and type(value) not in kinds), None
    )


def _fault_of_flag(flag: Any) -> str | None:
    flag = flag if isinstance(flag, dict) else {}
    feature = flag.get("feature") if isinstance(flag.get("feature"), dict) else {}
    return _fault(
        "flag_without_id_or_state",
        [
            ("flag_feature_id_not_an_integer", feature.get("id"), (int,)),
            ("flag_enabled_not_a_boolean", flag.get("enabled"), (bool,)),
            ("flag_feature_name_not_a_string", feature.get("name"), (str,)),
            ("flag_feature_type_not_a_string", feature.get("type"), (str,)),
            ("flag_percentage_allocation_not_a_number", flag.get("percentage_allocation"), (int, float)),
        ],
    )


def _fault_of_segment(segment: Any) -> str | None:
    segment = segment if isinstance(segment, dict) else {}
    return _fault(
        "segment_without_id_or_membership",
        [
            ("segment_id_not_an_integer", segment.get("id"), (int,)),
            ("segment_member_not_a_boolean", segment.get("member"), (bool,)),
            ("segment_name_not_a_string", segment.get("name"), (str,)),
        ],
    )


def _fault_of_trait(trait: Any) -> str | None:
    trait = trait if isinstance(trait, dict) else {}
    key = trait.get("trait_key")
    return _fault(
        "trait_without_key",
        [
            ("trait_key_not_a_string", key, (str,)),
            ("trait_key_not_a_string", key, (str,)),
            ("trait_transient_not_a_boolean", trait.get("transient"), (bool,)),
        ],
    )


def text_and_type(value: Any) -> tuple[str | None, str]:
    """Return the text of a JSON value and its type."""
    if value is None:
        return None, "null"
    if isinstance(value, bool):
        return ("true" if value else "false"), "boolean"
    if isinstance(value, str):
        return value, "string"
    if isinstance(value, int):
        return str(value), "integer"
    if isinstance(value, float):
        return repr(value), "float"
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False), "json"


def variation(flag: dict, text: str | None) -> str:
    """Return the variation of a flag by the contract's definition, line by line."""
    if not flag["enabled"]:
        return "off"
    if flag["feature"].get("type") == "MULTIVARIATE":
        percentage = flag.get("percentage_allocation", ABSENT)
        is_number = isinstance(percentage, int | float) and not isinstance(percentage, bool)
        if text is not None and is_number:
            return text
        if percentage is None or text is None:
            return "control"
        return text
    return "on" if text is None else text


def flag_states(body: dict) -> dict[int, dict]:
    """Return the state of each feature in a body, by feature id."""
    states = {}
    for flag in body["flags"]:
        reason = "environment_default"
        if flag.get("feature_segment") is not None:
            reason = "segment_override"
        if flag.get("identity") is not None:
            reason = "identity_override"
        text, value_type = text_and_type(flag.get("feature_state_value"))
        percentage = flag.get("percentage_allocation")
        states[flag["feature"]["id"]] = {
            "feature_name": flag["feature"].get("name"),
            "is_multivariate": flag["feature"].get("type") == "MULTIVARIATE",
            "variation": variation(flag, text),
            "enabled": flag["enabled"],
            "value": text,
            "value_type": value_type,
            "assignment_reason": reason,
            "percentage_allocation": None if percentage is None else float(percentage),
        }
    return states


STATE = ("variation", "enabled", "value", "value_type", "assignment_reason")


def change_reason(before: dict, after: dict) -> str:
    """Return why a flag's state changed between two sightings: the first reason that applies."""
    was, now = before["assignment_reason"], after["assignment_reason"]
    for override in ("identity_override", "segment_override"):
        if was != override and now == override:
            return f"{override}_added"
        if was == override and now != override:
            return f"{override}_removed"
    if before["enabled"] != after["enabled"]:
        return "toggled"
    if before["percentage_allocation"] != after["percentage_allocation"]:
        return "weights_changed"
    return "value_changed"


class Warehouse:
    """All marts of a landing. `test_identities`: identities to leave out, as (environment or None, identity)."""

    def __init__(self, landing: list[Landed], test_identities: frozenset = frozenset(), stale_days: int = 30):
        once: dict[str, Landed] = {}
        for row in sorted(landing, key=lambda r: (r.landed_at, r.received_at, r.environment, r.payload_hash)):
            once.setdefault(row.delivery_id, row)
        self.rows = sorted(once.values(), key=lambda r: (r.received_at, r.delivery_id))
        self.judged = {row.delivery_id: judge(row) for row in self.rows}
        self.stale_days = stale_days
        self.evaluations: dict[tuple[str, str], list[tuple[Landed, dict]]] = defaultdict(list)
        for row in self.rows:
            kind, _, body = self.judged[row.delivery_id]
            if (
                kind == "evaluation"
                and not {(None, body["identity"]), (row.environment, body["identity"])} & test_identities
            ):
                self.evaluations[row.environment, body["identity"]].append((row, body))

    def sightings(self, person: tuple[str, str], said: str) -> list[tuple[datetime, dict]]:
        """Evaluations of an identity that say something about `said`. Of several in one microsecond, the last delivery counts."""
        by_time = {}
        for row, body in self.evaluations[person]:
            by_time[row.received_at] = body
        return [(at, body) for at, body in sorted(by_time.items()) if body.get(said) is not None]

    def fct_flag_exposures(self) -> list[dict]:
        exposures: dict[tuple, dict] = {}
        for (environment, identity), evaluations in self.evaluations.items():
            for row, body in evaluations:
                if body.get("flags") is None:
                    continue
                for feature_id, state in flag_states(body).items():
                    key = (
                        environment,
                        identity,
                        feature_id,
                        state["variation"],
                        state["enabled"],
                        state["assignment_reason"],
                    )
                    known = exposures.get(key)
                    exposures[key] = {
                        "environment": environment,
                        "identity": identity,
                        "feature_id": feature_id,
                        **state,
                        "exposure_count": (known["exposure_count"] if known else 0) + 1,
                        "last_delivery_id": row.delivery_id,
                        "first_exposed_at": known["first_exposed_at"] if known else row.received_at,
                        "last_exposed_at": row.received_at,
                    }
        return list(exposures.values())

    def fct_flag_assignments(self) -> list[dict]:
        spells = []
        for person in self.evaluations:
            current: dict[int, dict] = {}
            last_said: dict[int, dict] = {}
            for at, body in self.sightings(person, "flags"):
                # A body without the flag says nothing about it.
                for feature_id, state in flag_states(body).items():
                    spell = current.get(feature_id)
                    if spell is None or any(spell[key] != state[key] for key in STATE):
                        reason = "first_seen"
                        if spell is not None:
                            spell["valid_to"] = at
                            reason = change_reason(last_said[feature_id], state)
                        spell = {
                            "environment": person[0],
                            "identity": person[1],
                            "feature_id": feature_id,
                            "valid_from": at,
                            "valid_to": None,
                            "change_reason": reason,
                            "evaluation_count": 0,
                        }
                        current[feature_id] = spell
                        spells.append(spell)
                    spell.update(state)
                    spell["evaluation_count"] += 1
                    last_said[feature_id] = state
        for spell in spells:
            spell["is_current"] = spell["valid_to"] is None
        return spells

    def fct_flag_exposures_daily(self) -> list[dict]:
        days: dict[tuple, dict] = {}
        first_days: dict[tuple, date] = {}
        for (environment, identity), evaluations in self.evaluations.items():
            for row, body in evaluations:
                if body.get("flags") is None:
                    continue
                for feature_id, state in flag_states(body).items():
                    key = (
                        environment,
                        feature_id,
                        state["variation"],
                        state["enabled"],
                        state["assignment_reason"],
                    )
                    day = row.received_at.date()
                    entry = days.setdefault(
                        (*key, day), {"people": set(), "new": set(), "evaluations": 0, "last": ()}
                    )
                    entry["people"].add(identity)
                    entry["evaluations"] += 1
                    entry["last"] = max(
                        entry["last"], (row.received_at, row.delivery_id, state["feature_name"])
                    )
                    if first_days.setdefault((*key, identity), day) == day:
                        entry["new"].add(identity)
        return [
            {
                "environment": environment,
                "feature_id": feature_id,
                "variation": variation_,
                "enabled": enabled,
                "assignment_reason": reason,
                "day": day,
                "feature_name": entry["last"][2],
                "identities": len(entry["people"]),
                "new_identities": len(entry["new"]),
                "evaluations": entry["evaluations"],
            }
            for (environment, feature_id, variation_, enabled, reason, day), entry in days.items()
        ]

    def fct_segment_memberships(self) -> list[dict]:
        spells = []
        for person in self.evaluations:
            current: dict[int, dict] = {}
            for at, body in self.sightings(person, "segments"):
                stated = {segment["id"]: segment for segment in body["segments"]}
                for segment_id in list(current):
                    segment = stated.get(segment_id)
                    if segment is None or not segment["member"]:
                        reason = "absent" if segment is None else "stated"
                        current.pop(segment_id).update(left_at=at, left_reason=reason, is_current=False)
                for segment_id, segment in stated.items():
                    if not segment["member"]:
                        continue
                    if segment_id not in current:
                        current[segment_id] = {
                            "environment": person[0],
                            "identity": person[1],
                            "segment_id": segment_id,
                            "entered_at": at,
                            "left_at": None,
                            "left_reason": None,
                            "is_current": True,
                        }
                        spells.append(current[segment_id])
                    current[segment_id]["segment_name"] = segment.get("name")
        return spells

    def fct_identity_traits(self) -> list[dict]:
        spells = []
        for person in self.evaluations:
            current: dict[str, dict] = {}
            for at, body in self.sightings(person, "traits"):
                traits = {trait["trait_key"]: trait for trait in body["traits"]}
                for key in set(current) - set(traits):
                    current.pop(key)["valid_to"] = at
                for key, trait in traits.items():
                    text, value_type = text_and_type(trait.get("trait_value"))
                    state = {
                        "value_text": text,
                        "value_number": float(text) if value_type in ("integer", "float") else None,
                        "value_boolean": trait["trait_value"] if value_type == "boolean" else None,
                        "value_type": value_type,
                        "is_transient": bool(trait.get("transient")),
                    }
                    spell = current.get(key)
                    if spell is not None and all(spell[name] == state[name] for name in state):
                        continue
                    if spell is not None:
                        spell["valid_to"] = at
                    current[key] = {
                        "environment": person[0],
                        "identity": person[1],
                        "trait_key": key,
                        **state,
                        "valid_from": at,
                        "valid_to": None,
                    }
                    spells.append(current[key])
        for spell in spells:
            spell["is_current"] = spell["valid_to"] is None
        return spells

    def fct_segment_sizes_daily(self) -> list[dict]:
        last_days: dict[str, date] = {}
        for row in self.rows:
            last_days[row.environment] = row.received_at.date()
        by_segment = defaultdict(list)
        for spell in self.fct_segment_memberships():
            by_segment[spell["environment"], spell["segment_id"]].append(spell)
        sizes = []
        for (environment, segment_id), spells in by_segment.items():
            name = max((s["entered_at"], s["identity"], s["segment_name"]) for s in spells)[2]
            day = min(s["entered_at"] for s in spells).date()
            while day <= last_days[environment]:
                end = datetime.combine(day + timedelta(days=1), datetime.min.time())
                sizes.append(
                    {
                        "environment": environment,
                        "segment_id": segment_id,
                        "day": day,
                        "segment_name": name,
                        "members": sum(
                            s["entered_at"] < end and (s["left_at"] is None or s["left_at"] >= end)
                            for s in spells
                        ),
                        "entered": sum(s["entered_at"].date() == day for s in spells),
                        "left": sum(s["left_at"] is not None and s["left_at"].date() == day for s in spells),
                    }
                )
                day += timedelta(days=1)
        return sizes

    def dim_identities(self) -> list[dict]:
        identities = []
        for person, evaluations in self.evaluations.items():
            traits: dict[str, Any] = {}
            segments = 0
            for _, body in self.sightings(person, "traits"):
                kept = {t["trait_key"]: t for t in body["traits"]}
                traits = {key: t.get("trait_value") for key, t in kept.items() if not t.get("transient")}
            for _, body in self.sightings(person, "segments"):
                segments = sum({s["id"]: s["member"] for s in body["segments"]}.values())
            identities.append(
                {
                    "environment": person[0],
                    "identity": person[1],
                    "traits": traits,
                    "trait_count": len(traits),
                    "segment_count": segments,
                    "evaluation_count": len(evaluations),
                    "first_seen_at": evaluations[0][0].received_at,
                    "last_seen_at": evaluations[-1][0].received_at,
                }
            )
        return identities

    def dim_flags(self) -> list[dict]:
        last_received = {}
        for row in self.rows:
            last_received[row.environment] = row.received_at
        by_flag = defaultdict(list)
        for exposure in self.fct_flag_exposures():
            by_flag[exposure["environment"], exposure["feature_id"]].append(exposure)
        flags = []
        for (environment, feature_id), exposures in by_flag.items():
            last = max(exposures, key=lambda e: (e["last_exposed_at"], e["last_delivery_id"]))
            since = last_received[environment] - timedelta(days=self.stale_days)
            flags.append(
                {
                    "environment": environment,
                    "feature_id": feature_id,
                    "name": last["feature_name"],
                    "type": "MULTIVARIATE" if last["is_multivariate"] else "STANDARD",
                    "variations": sorted({e["variation"] for e in exposures}),
                    "identities": len({e["identity"] for e in exposures}),
                    "is_stale": min(e["first_exposed_at"] for e in exposures) < since
                    and len({e["variation"] for e in exposures if e["last_exposed_at"] >= since}) == 1,
                    "first_seen_at": min(e["first_exposed_at"] for e in exposures),
                    "last_seen_at": max(e["last_exposed_at"] for e in exposures),
                }
            )
        return flags

    def fct_deliveries_hourly(self) -> list[dict]:
        hours: dict[tuple, list[Landed]] = defaultdict(list)
        for row in self.rows:
            hour = row.received_at.replace(minute=0, second=0, microsecond=0)
            hours[row.environment, hour, self.judged[row.delivery_id][0]].append(row)
        return [
            {
                "environment": environment,
                "hour": hour,
                "kind": kind,
                "deliveries": len(rows),
                "bytes": sum(len(raw_body(row)) for row in rows),
                "distinct_payloads": len({row.payload_hash for row in rows}),
                "identities": len({self.judged[row.delivery_id][2].get("identity") for row in rows} - {None}),
                "last_received_at": max(row.received_at for row in rows),
                "last_landed_at": max(row.landed_at for row in rows),
            }
            for (environment, hour, kind), rows in hours.items()
        ]

    def quarantined_deliveries(self) -> list[dict]:
        return [
            {
                "delivery_id": row.delivery_id,
                "environment": row.environment,
                "reason": self.judged[row.delivery_id][1],
                "body_excerpt": row.body[:200],
                "received_at": row.received_at,
            }
            for row in self.rows
            if self.judged[row.delivery_id][0] == "quarantined"
        ]


MARTS = {
    "fct_flag_exposures": (
        "environment",
        "identity",
        "feature_id",
        "variation",
        "enabled",
        "assignment_reason",
    ),
    "fct_flag_assignments": ("environment", "identity", "feature_id", "valid_from"),
    "fct_flag_exposures_daily": (
        "environment",
        "feature_id",
        "variation",
        "enabled",
        "assignment_reason",
        "day",
    ),
    "dim_flags": ("environment", "feature_id"),
    "fct_segment_memberships": ("environment", "identity", "segment_id", "entered_at"),
    "fct_segment_sizes_daily": ("environment", "segment_id", "day"),
    "fct_identity_traits": ("environment", "identity", "trait_key", "valid_from"),
    "dim_identities": ("environment", "identity"),
    "fct_deliveries_hourly": ("environment", "hour", "kind"),
    "quarantined_deliveries": ("delivery_id",),
}
