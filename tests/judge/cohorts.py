"""The cohort marts, for rules of EQUAL, GREATER_THAN and CONTAINS under ALL, ANY and NONE."""

from collections import defaultdict
from datetime import date, datetime, timedelta

from .bodies import History
from .segments import days, size

COHORTS = [
    {"key": "adults", "rules": [{"type": "ALL", "conditions": [
        {"property": "age", "operator": "GREATER_THAN", "value": "18"}]}]},
    {"key": "pro_or_beta", "rules": [{"type": "ANY", "conditions": [
        {"property": "plan", "operator": "EQUAL", "value": "pro"},
        {"property": "beta", "operator": "EQUAL", "value": "true"}]}]},
    {"key": "not_pro", "rules": [{"type": "NONE", "conditions": [
        {"property": "plan", "operator": "EQUAL", "value": "pro"}]}]},
    {"key": "mailed", "environment": "one", "rules": [{"type": "ALL", "rules": [
        {"type": "ANY", "conditions": [{"property": "email", "operator": "CONTAINS", "value": "@ex"}]},
        {"type": "NONE", "conditions": [{"property": "plan", "operator": "EQUAL", "value": "free"}]}]}]},
]  # fmt: skip


def matches(rules: list[dict], traits: dict) -> bool:
    return bool(rules) and all(_rule(rule, traits) for rule in rules)


def _rule(rule: dict, traits: dict) -> bool:
    asked = [[_condition(c, traits) for c in rule.get("conditions", [])]]
    asked.append([_rule(child, traits) for child in rule.get("rules", [])])
    answers = {"ALL": all, "ANY": any, "NONE": lambda holds: not any(holds)}
    return all(answers[rule["type"]](holds) for holds in asked if holds)


def _condition(condition: dict, traits: dict) -> bool:
    value = traits.get(condition["property"])
    if value is None:
        return False
    wanted = condition["value"]
    if condition["operator"] == "CONTAINS":
        return isinstance(value, str) and wanted in value
    if isinstance(value, str):
        value = _as_number(value)
    try:
        if isinstance(value, bool):
            wanted = wanted not in ("False", "false")
        else:
            wanted = type(value)(wanted) if not isinstance(value, float) else float(wanted)
    except ValueError:
        return False
    return value == wanted if condition["operator"] == "EQUAL" else value > wanted


def _as_number(text: str) -> str | int | float:
    """A text that looks like a whole or decimal number is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def memberships(history: History, cohorts: list[dict] = COHORTS) -> list[dict]:
    rows = []
    for (environment, identity), deliveries in history.by_identity().items():
        for cohort in cohorts:
            if cohort.get("environment") not in (None, environment):
                continue
            current = None
            stored: dict = {}
            for d in deliveries:
                if d.traits is not None:
                    stored = {key: trait.value for key, trait in d.traits.items() if not trait.is_transient}
                is_member = matches(cohort["rules"], stored)
                if is_member and current is None:
                    current = {
                        "environment": environment, "cohort_key": cohort["key"], "identity": identity,
                        "entered_at": d.received_at, "left_at": None, "is_current": True,
                    }  # fmt: skip
                    rows.append(current)
                elif current and not is_member:
                    current.update(left_at=d.received_at, is_current=False)
                    current = None
    return rows


def cohorts_now(spells: list[dict], cohorts: list[dict] = COHORTS) -> list[dict]:
    return [
        {
            "cohort_key": cohort["key"], "name": cohort["key"], "environment": cohort.get("environment"),
            "members": sum(s["is_current"] for s in spells if s["cohort_key"] == cohort["key"]),
        }
        for cohort in cohorts
    ]  # fmt: skip


def sizes_daily(history: History, spells: list[dict]) -> list[dict]:
    groups = defaultdict(list)
    for spell in spells:
        groups[spell["environment"], spell["cohort_key"]].append(spell)
    return [
        {"environment": environment, "cohort_key": key, "day": day, **size(spells, day)}
        for (environment, key), spells in groups.items()
        for day in days(min(s["entered_at"] for s in spells).date(), history.clock[environment].date())
    ]


def begin(period: str, at: datetime) -> date:
    return at.date() - timedelta(days=at.weekday()) if period == "week" else at.date().replace(day=1)


def number(period: str, start: date, now: date) -> int:
    """How many weeks or months after `start` `now` begins."""
    if period == "week":
        return (now - start).days // 7
    return (now.year - start.year) * 12 + now.month - start.month


def retention(history: History, spells: list[dict]) -> list[dict]:
    evaluated = defaultdict(list)
    for d in history.evaluations:
        evaluated[d.environment, d.identity].append(d.received_at)
    entered: dict[tuple, datetime] = {}
    for s in spells:
        key = (s["environment"], s["cohort_key"], s["identity"])
        entered[key] = min(entered.get(key, s["entered_at"]), s["entered_at"])
    groups = defaultdict(list)
    for (environment, cohort, identity), entry in entered.items():
        seen = evaluated[environment, identity]
        for counted_from, start in (("first_seen", seen[0]), ("entry", entry)):
            for period in ("week", "month"):
                groups[environment, cohort, counted_from, period, begin(period, start)].append(seen)
    rows = []
    for (environment, cohort, counted_from, period, start), started in groups.items():
        last = number(period, start, begin(period, history.clock[environment]))
        for n in range(last + 1):
            active = sum(
                any(number(period, start, begin(period, at)) == n for at in seen) for seen in started
            )
            rows.append({
                "environment": environment, "cohort_key": cohort, "counted_from": counted_from,
                "period": period, "start_period": start, "period_number": n,
                "identities": len(started), "active_identities": active, "retention": active / len(started),
            })  # fmt: skip
    return rows


def exposures(history: History, spells: list[dict]) -> list[dict]:
    by_identity = defaultdict(list)
    for s in spells:
        by_identity[s["environment"], s["identity"]].append(s)
    groups, exposed = defaultdict(list), defaultdict(set)
    for d in history.evaluations:
        for s in by_identity[d.environment, d.identity]:
            if s["entered_at"] <= d.received_at and (s["left_at"] is None or d.received_at < s["left_at"]):
                for flag in (d.flags or {}).values():
                    groups[d.environment, s["cohort_key"], flag.feature_id, flag.variation].append((d, flag))
                    exposed[d.environment, s["cohort_key"], flag.feature_id].add(d.identity)
    rows = []
    for (environment, cohort, feature_id, variation), seen in groups.items():
        identities = len({d.identity for d, _ in seen})
        rows.append({
            "environment": environment, "cohort_key": cohort, "feature_id": feature_id, "variation": variation,
            "feature_name": seen[-1][1].name, "identities": identities,
            "share": identities / len(exposed[environment, cohort, feature_id]),
            "first_exposed_at": seen[0][0].received_at, "last_exposed_at": seen[-1][0].received_at,
        })  # fmt: skip
    return rows
