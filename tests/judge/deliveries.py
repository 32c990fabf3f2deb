"""fct_deliveries_hourly, quarantined_deliveries, fct_flag_changes."""

from collections import defaultdict
from datetime import UTC, datetime

from .bodies import History, text_of
from .expected import ANYTHING, one_of


def hourly(history: History) -> list[dict]:
    groups = defaultdict(list)
    for d in history.deliveries:
        groups[d.environment, d.received_at.replace(minute=0, second=0, microsecond=0), d.kind].append(d)
    return [
        {
            "environment": environment, "hour": hour, "kind": kind, "deliveries": len(seen),
            "bytes": sum(d.bytes for d in seen), "distinct_payloads": len({d.payload_hash for d in seen}),
            "identities": len({d.identity for d in seen if d.identity is not None}),
            # The contract does not say whether an unreadable body that names a test identity counts as a test delivery.
            "test_deliveries": ANYTHING if kind == "quarantined" else sum(d.is_test for d in seen),
            "max_landing_delay_seconds": max((d.landed_at - d.received_at).total_seconds() for d in seen),
            "last_received_at": max(d.received_at for d in seen), "last_landed_at": max(d.landed_at for d in seen),
        }
        for (environment, hour, kind), seen in groups.items()
    ]  # fmt: skip


def quarantined(history: History) -> list[dict]:
    return [
        {
            "delivery_id": d.id, "environment": d.environment, "received_at": d.received_at,
            "reason": one_of(*d.reasons) if d.reasons else ANYTHING, "body_excerpt": d.body[:200],
        }
        for d in history.deliveries
        if d.kind == "quarantined"
    ]  # fmt: skip


def changes(history: History) -> list[dict]:
    return [
        {
            "delivery_id": d.id, "environment": d.environment, "received_at": d.received_at,
            "event_type": d.event["event_type"], **_change(d.event["data"], d.kind),
        }
        for d in history.deliveries
        if d.kind in ("flag_change", "audit_log")
    ]  # fmt: skip


def _change(data: dict, kind: str) -> dict:
    """What an event says. A value of the wrong type says nothing: the event itself is shown all the same."""
    if kind == "audit_log":
        return {
            "changed_by": _typed(_object(data, "author"), "email", str), "description": _typed(data, "log", str),
            "changed_at": _utc(_typed(data, "created_date", str)), "feature_id": None,
        }  # fmt: skip
    new, old = _object(data, "new_state"), _object(data, "previous_state")
    feature = _object(new or old, "feature")
    return {
        "feature_id": _typed(feature, "id", int), "feature_name": _typed(feature, "name", str),
        "changed_by": _typed(data, "changed_by", str), "identity": _typed(new or old, "identity_identifier", str),
        "changed_at": _utc(_typed(data, "timestamp", str)),
        "old_enabled": _typed(old, "enabled", bool), "new_enabled": _typed(new, "enabled", bool),
        "old_value": text_of(old.get("feature_state_value"))[0],
        "new_value": text_of(new.get("feature_state_value"))[0],
    }  # fmt: skip


def _object(holder: dict, key: str) -> dict:
    return holder[key] if isinstance(holder.get(key), dict) else {}


def _typed(holder: dict, key: str, kind: type):
    return holder[key] if type(holder.get(key)) is kind else None


def _utc(text: str | None) -> datetime | None:
    """A text as a time: UTC where it has no offset, none where it is no time."""
    try:
        at = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return at.astimezone(UTC).replace(tzinfo=None) if at and at.tzinfo else at
