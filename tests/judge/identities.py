"""fct_identity_traits, dim_identities."""

import math
from collections import defaultdict

from .bodies import History


def traits(history: History) -> list[dict]:
    rows = []
    for (environment, identity), deliveries in history.by_identity().items():
        current: dict[str, dict] = {}
        for d in deliveries:
            if d.traits is None:
                continue
            for key, spell in list(current.items()):
                if key not in d.traits or _state(d.traits[key]) != spell["state"]:
                    current.pop(key).update(valid_to=d.received_at, is_current=False)
            for key, trait in d.traits.items():
                if key not in current:
                    current[key] = {
                        "environment": environment, "identity": identity, "trait_key": key,
                        "valid_from": d.received_at, "value_text": trait.text, "value_type": trait.value_type,
                        "value_number": _number(trait), "is_transient": trait.is_transient,
                        "value_boolean": trait.value if isinstance(trait.value, bool) else None,
                        "valid_to": None, "is_current": True, "state": _state(trait), "trait": trait,
                    }  # fmt: skip
                    rows.append(current[key])
    return rows


def _state(trait) -> tuple:
    return trait.text, trait.value_type, trait.is_transient


def _number(trait) -> float | None:
    if trait.value_type not in ("integer", "float"):
        return None
    try:
        number = float(trait.value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def identities(history: History, trait_rows: list[dict], membership_rows: list[dict]) -> list[dict]:
    groups = defaultdict(list)
    for d in history.evaluations:
        groups[d.environment, d.identity].append(d)
    stored, segments = defaultdict(dict), defaultdict(int)
    for row in trait_rows:
        if row["is_current"] and not row["is_transient"]:
            stored[row["environment"], row["identity"]][row["trait_key"]] = row["trait"].value
    for row in membership_rows:
        segments[row["environment"], row["identity"]] += row["is_current"]
    return [
        {
            "environment": key[0], "identity": key[1], "traits": stored[key], "trait_count": len(stored[key]),
            "segment_count": segments[key], "evaluation_count": len(deliveries),
            "first_seen_at": deliveries[0].received_at, "last_seen_at": deliveries[-1].received_at,
        }
        for key, deliveries in groups.items()
    ]  # fmt: skip
