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
            # The contract does not say whether identities of testers are among these.
            "identities": one_of(*{
                len({d.identity for d in seen if d.identity is not None}),
                len({d.identity for d in seen if d.identity is not None and not d.is_test}),
            }),
            "test_deliveries": sum(d.is_test for d in seen),
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
    if kind == "audit_log":
        return {
            "changed_by": (data.get("author") or {}).get("email"), "description": data.get("log"),
            "changed_at": _utc(data.get("created_date")), "feature_id": None,
        }  # fmt: skip
    new, old = data.get("new_state") or {}, data.get("previous_state") or {}
    feature = (new or old).get("feature") or {}
    return {
        "feature_id": feature.get("id"), "feature_name": feature.get("name"), "changed_by": data.get("changed_by"),
        "identity": (new or old).get("identity_identifier"), "changed_at": _utc(data.get("timestamp")),
        "old_enabled": old.get("enabled"), "new_enabled": new.get("enabled"),
        "old_value": text_of(old.get("feature_state_value"))[0],
        "new_value": text_of(new.get("feature_state_value"))[0],
    }  # fmt: skip


def _utc(text: str | None) -> datetime | None:
    """A text as a time: UTC where it has no offset."""
    if text is None:
        return None
    at = datetime.fromisoformat(text)
    return at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at
