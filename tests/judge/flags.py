"""fct_flag_exposures, fct_flag_assignments, fct_flag_exposures_daily, dim_flags."""

from collections import defaultdict
from datetime import timedelta

from .bodies import Delivery, History, text_of

MINUTE = timedelta(minutes=1)


def sightings(history: History) -> list[tuple]:
    """Every flag of every evaluation, in order."""
    return [(d, flag) for d in history.evaluations for flag in (d.flags or {}).values()]


def exposures(history: History) -> list[dict]:
    groups = defaultdict(list)
    for d, flag in sightings(history):
        groups[d.environment, d.identity, *flag.exposure].append((d, flag))
    rows = []
    for (environment, identity, feature_id, variation, enabled, reason), seen in groups.items():
        last_delivery, last = seen[-1]
        rows.append({
            "environment": environment, "identity": identity, "feature_id": feature_id,
            "variation": variation, "enabled": enabled, "assignment_reason": reason,
            "feature_name": last.name, "is_multivariate": last.is_multivariate,
            "value": last.value, "value_type": last.value_type, "percentage_allocation": last.percentage,
            "exposure_count": len(seen), "last_delivery_id": last_delivery.id,
            "first_exposed_at": seen[0][0].received_at, "last_exposed_at": last_delivery.received_at,
        })  # fmt: skip
    return rows


def assignments(history: History) -> list[dict]:
    states = defaultdict(list)
    for d, flag in sightings(history):
        if d.is_state:
            states[d.environment, d.identity, flag.feature_id].append((d, flag))
    rows = []
    for (environment, identity, feature_id), seen in states.items():
        spells: list[list] = []
        for d, flag in seen:
            if not spells or spells[-1][-1][1].state != flag.state:
                spells.append([])
            spells[-1].append((d, flag))
        for number, spell in enumerate(spells):
            valid_from = spell[0][0].received_at
            valid_to = spells[number + 1][0][0].received_at if number + 1 < len(spells) else None
            last = spell[-1][1]
            rows.append({
                "environment": environment, "identity": identity, "feature_id": feature_id,
                "feature_name": last.name, "is_multivariate": last.is_multivariate,
                "variation": last.variation, "enabled": last.enabled, "value": last.value,
                "value_type": last.value_type, "assignment_reason": last.reason,
                "percentage_allocation": last.percentage,
                # One that loses a tie counts in no spell.
                "evaluation_count": len(spell),
                "change_reason": change_reason(spells[number - 1][-1][1] if number else None, spell[0][1]),
                "valid_from": valid_from, "valid_to": valid_to, "is_current": valid_to is None,
            })  # fmt: skip
    return rows


def change_reason(before, after) -> str:
    """The first that applies."""
    if before is None:
        return "first_seen"
    for override in ("identity_override", "segment_override"):
        if after.reason == override != before.reason:
            return f"{override}_added"
        if before.reason == override != after.reason:
            return f"{override}_removed"
    if before.enabled != after.enabled:
        return "toggled"
    if before.percentage != after.percentage:
        return "weights_changed"
    return "value_changed"


def exposures_daily(history: History) -> list[dict]:
    groups = defaultdict(list)
    first_day = {}
    for d, flag in sightings(history):
        key = (d.environment, *flag.exposure)
        groups[*key, d.received_at.date()].append((d, flag))
        first_day.setdefault((key, d.identity), d.received_at.date())
    rows = []
    for (*key, day), seen in groups.items():
        identities = {d.identity for d, _ in seen}
        environment, feature_id, variation, enabled, reason = key
        rows.append({
            "environment": environment, "feature_id": feature_id, "variation": variation, "enabled": enabled,
            "assignment_reason": reason, "day": day, "feature_name": seen[-1][1].name,
            "identities": len(identities),
            "new_identities": sum(first_day[tuple(key), identity] == day for identity in identities),
            "evaluations": len(seen),
        })  # fmt: skip
    return rows


def flags(history: History, stale_days: int = 30) -> list[dict]:
    groups = defaultdict(list)
    for d, flag in sightings(history):
        groups[d.environment, flag.feature_id].append((d, flag))
    absences, rows = _absences(history), []
    # Features that some calls leave out: one did, and more than a minute later another did not.
    hidden = {
        key for key, absent in absences.items()
        if any(d.received_at + MINUTE < groups[key][-1][0].received_at for d in absent)
    }  # fmt: skip
    for (environment, feature_id), seen in groups.items():
        window = history.clock[environment] - timedelta(days=stale_days)
        recent = {flag.variation for d, flag in seen if d.received_at >= window}
        last = seen[-1][1]
        rows.append({
            "environment": environment, "feature_id": feature_id,
            "name": last.name, "type": "MULTIVARIATE" if last.is_multivariate else "STANDARD",
            "current_default": current_default(seen),
            "variations": {flag.variation for _, flag in seen},
            "ambiguous_variations": ambiguous(seen),
            "identities": len({d.identity for d, _ in seen}),
            "is_gone": any(
                d.received_at > seen[-1][0].received_at
                and (
                    (environment, feature_id) not in hidden
                    or any((environment, other) in hidden for other in d.flags)
                )
                for d in absences[environment, feature_id]
            ),
            "is_stale": len(recent) == 1 and seen[0][0].received_at < window,
            "first_seen_at": seen[0][0].received_at, "last_seen_at": seen[-1][0].received_at,
        })  # fmt: skip
    return rows


def _absences(history: History) -> dict[tuple, list[Delivery]]:
    """Evaluations without a flag that the identity had been given before."""
    found = defaultdict(list)
    for (environment, _), deliveries in history.by_identity().items():
        with_flags = [d for d in deliveries if d.flags is not None]
        for feature_id in {feature_id for d in with_flags for feature_id in d.flags}:
            first = next(n for n, d in enumerate(with_flags) if feature_id in d.flags)
            found[environment, feature_id] += [d for d in with_flags[first:] if feature_id not in d.flags]
    return found


def current_default(seen: list[tuple]) -> str | None:
    """`off`, or the text of the value that is no option's: null where it has not been seen."""
    # fct_flag_exposures keeps one row per exposure, with the values of its last sighting.
    last = {(d.identity, *flag.exposure): (d.order, flag) for d, flag in seen}
    defaults = [flag for _, flag in sorted(last.values(), key=lambda kept: kept[0])]
    defaults = [flag for flag in defaults if flag.reason == "environment_default"]
    if defaults and not defaults[-1].enabled:
        return "off"
    values = [
        "on" if flag.value is None else flag.value
        for flag in defaults
        if flag.enabled and (flag.variation == "control" or not flag.is_multivariate)
    ]
    return values[-1] if values else None


def ambiguous(seen: list[tuple]) -> set:
    """Variations of which the value cannot tell the option: falsy, or the feature's initial value."""
    falsy = {flag.variation for _, flag in seen if flag.is_ambiguous}
    options = {flag.variation for _, flag in seen if flag.enabled and flag.percentage is not None}
    return falsy | (options & set(_initial_values(seen)))


def _initial_values(seen: list[tuple]) -> list:
    return [text_of(flag.initial_value)[0] for _, flag in seen if flag.is_multivariate]
