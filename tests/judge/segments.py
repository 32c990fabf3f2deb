"""fct_segment_memberships, fct_segment_sizes_daily."""

from collections import defaultdict
from datetime import date, datetime, timedelta

from .bodies import History
from .expected import one_of


def memberships(history: History) -> list[dict]:
    rows = []
    for (environment, identity), deliveries in history.by_identity().items():
        current: dict[int, dict] = {}
        for d in deliveries:
            if d.segments is None:
                continue
            for segment_id in list(current):
                stated = d.segments.get(segment_id)
                if stated is None or not stated.is_member:
                    spell = current.pop(segment_id)
                    reason = "absent" if stated is None else "stated"
                    spell.update(left_at=d.received_at, left_reason=reason, is_current=False)
            for segment_id, segment in d.segments.items():
                if segment.is_member and segment_id not in current:
                    current[segment_id] = {
                        "environment": environment, "identity": identity, "segment_id": segment_id,
                        "entered_at": d.received_at, "left_at": None, "left_reason": None, "is_current": True,
                    }  # fmt: skip
                    rows.append(current[segment_id])
                if segment.is_member:
                    current[segment_id]["segment_name"] = segment.name
    return rows


def sizes_daily(history: History, spells: list[dict]) -> list[dict]:
    groups = defaultdict(list)
    for spell in spells:
        groups[spell["environment"], spell["segment_id"]].append(spell)
    rows = []
    for (environment, segment_id), spells in groups.items():
        latest = max(spell["entered_at"] for spell in spells)
        names = {spell["segment_name"] for spell in spells if spell["entered_at"] == latest}
        for day in days(min(s["entered_at"] for s in spells).date(), history.clock[environment].date()):
            rows.append({
                "environment": environment, "segment_id": segment_id, "day": day,
                "segment_name": one_of(*names), **size(spells, day),
            })  # fmt: skip
    return rows


def days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def size(spells: list[dict], day: date) -> dict:
    """Members at the day's end, and how many spells began and ended that day."""
    end = datetime.combine(day + timedelta(days=1), datetime.min.time())
    return {
        "members": sum(
            s["entered_at"] < end and (s["left_at"] is None or s["left_at"] >= end) for s in spells
        ),
        "entered": sum(s["entered_at"].date() == day for s in spells),
        "left": sum(s["left_at"] is not None and s["left_at"].date() == day for s in spells),
    }
