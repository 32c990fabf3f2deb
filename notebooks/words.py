"""Puts the results of an experiment into sentences, as a person would say them, and writes them as Markdown.

`declared`: the experiment's row of dim_experiments; `results`: its rows of fct_experiment_results in one population,
with `label` (the metric as people call it), its `decision_method`, and `lift`, `low`, `high` and `chance_to_win` as the page
shows them; where Flagsmith's method decides, `flagsmith_chance_to_win` stands for `chance_to_win`;
`power`: its rows of fct_experiment_power; `health`: its rows of fct_experiment_health.
"""

import re
import unicodedata
from collections.abc import Iterable
from datetime import timedelta

import pandas

from flagsmith_warehouse.loader.operations.status import ENDED
from flagsmith_warehouse.notebooks.show import (
    Scope,
    capital,
    day,
    moment,
    number,
    p_value,
    percent,
    printable,
    round_percent,
    shortened,
)

POPULATIONS = {
    "assigned": "everybody assigned",
    "activated": "those activated",
    "until_change": "everybody assigned, until the weights changed",
    "undisturbed": "those whose variation never changed",
}
CHANGES = {
    "first_seen": "seen for the first time",
    "identity_override_added": "an override for this identity began",
    "identity_override_removed": "the override for this identity ended",
    "segment_override_added": "a segment's override began",
    "segment_override_removed": "a segment's override ended",
    "toggled": "switched on or off",
    "weights_changed": "the weights changed",
    "value_changed": "the value changed",
    "other_identity": "another identity of the same person",
}
SPLIT = {"environment_default": "the environment's default or percentage split"}
ORIGINS = {
    "environment_default": "the environment's default",
    "segment_override": "a segment's override",
    "identity_override": "an override for the identity",
}
DELIVERIES = {
    "evaluation": "evaluations",
    "flag_change": "flag changes",
    "audit_log": "audit log",
    "quarantined": "unreadable",
}
TOO_OFTEN = {"ok": "as expected", "warn": "too often"}
UNKNOWN = {
    "no_primary_metric": "no primary metric is declared",
    "none_matured": "nobody's window has passed yet",
    "arm_missing": "a combination of variations has nobody",
    "zero_variance": "everybody has the same outcome",
}
# What the operators of a rule say. The others are shown as they are written.
OPERATORS = {
    "EQUAL": "is",
    "NOT_EQUAL": "is not",
    "GREATER_THAN": "is above",
    "GREATER_THAN_INCLUSIVE": "is at least",
    "LESS_THAN": "is below",
    "LESS_THAN_INCLUSIVE": "is at most",
    "IN": "is one of",
    "CONTAINS": "contains",
    "NOT_CONTAINS": "does not contain",
    "REGEX": "matches",
    "IS_SET": "is set",
    "IS_NOT_SET": "is not set",
}
# What the checks of fct_experiment_health are called on a page.
CHECKS = {
    "declaration": "Declaration in order",
    "one_feature": "One feature has the name",
    "ambiguous_variations": "Variations have different values",
    "has_begun": "Somebody is assigned",
    "control_present": "Control has identities",
    "several_variations": "Several variations seen",
    "sample_ratio": "Shares as they should be (sample ratio)",
    "weights_known": "Intended shares known",
    "epochs_compared": "Compared in every period between changes of the weights",
    "windows_passed": "Time enough before the end",
    "pooled_lift": "Same lift with all days thrown together",
    "quarantined_share": "Few saw a second variation",
    "quarantined_balance": "Second variations evenly spread",
    "people_in_several_variations": "Few people with identities in several variations",
    "activated_balance": "Activation evenly spread",
    "evaluated_but_not_exposed": "Who is assigned really saw it",
    "exposed_but_not_evaluated": "Who saw it was assigned by a webhook",
    "exposed_in_another_variation": "Everybody saw the variation that they were assigned",
    "outcomes_readable": "Outcomes can be read",
    "unusable_outcomes": "Outcomes can be used",
    "outcomes_without_assignment": "Outcomes belong to identities of the experiment",
    "outcomes_before_exposure": "Outcomes come after the first evaluation",
    "identities_in_several_environments": "Identities in one environment only",
    "outcomes_after_last_webhook": "Outcomes come before the last webhook",
    "data_freshness": "Outcomes as fresh as the webhooks",
    "before_imbalance": "Alike before the experiment",
}
DECIDED = ("winning", "losing")
NUMBERS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def method(key: str) -> str:
    """What a decision method is called in a sentence."""
    return {"bayesian": "Bayesian", "flagsmith": "Flagsmith"}.get(key, shortened(key))


def decides(key: str, alpha: float) -> str:
    """What decides by a method, and what that has to do with the bars that a page draws. `alpha`: the experiment's."""
    bar, above, below = round_percent(1 - alpha), round_percent(1 - alpha), round_percent(alpha)
    by_chance = (
        f"a variation wins if its chance to win is above {above}, and loses if it is below {below}. "
        "That looks in one direction, and the bar in both, so a variation can win although its bar crosses zero"
    )
    return {
        "bayesian": f"The Bayesian method decides by the chance to win: {by_chance}. The bar is the {bar} interval",
        "flagsmith": "The Flagsmith method decides by a chance to win of its own, in a column of its own: "
        f"{by_chance}. The bar is the {bar} interval of our own estimate",
        "frequentist": f"The frequentist method decides by the p-value with Holm's correction for all comparisons, below {below}; "
        "a guardrail has its own p-value. So a bar that does not cross zero is not always a verdict. "
        f"The bar is the {bar} interval, without the correction",
        "sequential": f"The sequential method decides by the p-value that stays valid if you look every day, below {below}. "
        f"The bar is the {bar} interval that belongs to it",
    }.get(key, f"The {method(key)} method decides. The bar is the {bar} interval")


# How to read the columns of a read-out, beside what decides.
READING = (
    "Lift: how much higher or lower the mean is than that of control, with the interval in which the true difference probably is.",
    "Chance to win: how likely the variation is better than control, given the data and what was assumed before.",
    "n: the identities that were assigned. Mean: per identity whose time for this metric has passed.",
    "p-value: how often chance alone would show a difference as large as this one. A small one speaks against chance.",
    "Guardrail: a metric that the variation must not make worse.",
)
FLAGSMITH = (
    "Flagsmith's chance to win: computed as Flagsmith does, with all days thrown together and nothing adjusted. "
    "So it differs from ours where the weights changed, or where people differed before."
)


def reading(key: str, alpha: float) -> list[str]:
    """Sentences that say how to read the numbers of a read-out; `key` and `alpha` as in `decides`."""
    lines = "The thin line is the interval that stays valid if you look every day. The dashed line means no difference."
    own = [FLAGSMITH] if key == "flagsmith" else []
    return [f"{decides(key, alpha)}.", lines, *READING, *own, "docs/experiments.md has the formulas."]


def people(population: str) -> str:
    return POPULATIONS.get(population, population.replace("_", " "))


def label(key: str) -> str:
    """A key in words: `example_purchased` → `example purchased`."""
    return shortened(key.replace("_", " "), 60)


def called(key: str, name: str | None) -> str:
    """What people call a metric or an experiment: its declared name, or its key in words."""
    return shortened(name, 60) if isinstance(name, str) and name else label(key)


def amount(value: float, aggregation: str | None, unit: str | None) -> str:
    """A metric's mean in its unit: 0.329 of an occurrence → `32.9 %`, 13.5 in € → `€13.50`, 1.02 in pages → `1.02 pages`."""
    if pandas.isna(value):
        return number(value)
    said = number(value).replace("-", "−")
    if unit == "%" or (aggregation == "occurrence" and not isinstance(unit, str)):
        return percent(value)
    if not isinstance(unit, str):
        # What these two count says their unit.
        word = {"hours_to_first": "hour", "days": "day"}.get(aggregation)
        return f"{said} {plural(value, word)}" if word else said
    if len(unit) == 1 and unicodedata.category(unit) == "Sc":  # a currency
        return f"{'−' if value < 0 else ''}{unit}{abs(value):,.{2 if abs(value) < 1000 else 0}f}"
    return f"{said} {shortened(unit, 16)}"


VALUE = re.compile('("[^"]*")')  # of a condition, in a rule's text


def rule(rule_text: str) -> str:
    """A cohort's rule as people say it: `age GREATER_THAN "30"` → `age is above "30"`. Values, which are quoted, stay."""
    parts = re.split(VALUE, rule_text)
    words = (
        part
        if part.startswith('"')
        else re.sub(r"(?<= )[A-Z_]+(?= |$|\))", lambda found: OPERATORS.get(found[0], found[0]), part)
        for part in parts
    )
    return shortened("".join(words), 300)


def came(entries: int, new: int) -> str:
    """What the chart of where people came from leaves out, and how it counts."""
    if not entries:
        return "Nobody entered."
    first = f"{number(new)} of them {'was' if new == 1 else 'were'} the first evaluation ever, and {'is' if new == 1 else 'are'} left out. "
    return f"{counted(entries, 'entry')}. {first if new else ''}Who was in several others counts in each."


def went(exits: int) -> str:
    """How the chart of where people went counts."""
    if not exits:
        return "Nobody left."
    return f"{counted(exits, 'exit')}. Who was in several others counts in each. Who left in the last 7 days may still enter one."


def disagreement(row: tuple) -> str:
    """Why a cohort's rule and Flagsmith disagree about an identity.

    `row`: name and rule_text of the cohort, segment_name, is_stated (what Flagsmith said), at (when, UTC), and traits: pairs
    of the key and the value of each trait that the identity had then.
    """
    read = [
        f'{shortened(key, 40)} was "{shortened(value, 60)}"'
        for key, value in row.traits
        if _asks_for(key, row.rule_text)
    ]
    had = ", ".join(read[:6]) or "none of the traits in the rule was set"
    stated, by_rule = ("a member", "no member") if row.is_stated else ("no member", "a member")
    return (
        f"on {moment(row.at)} Flagsmith said: {stated} of {shortened(row.segment_name, 60)}. Your rule says: {by_rule} of "
        f"{shortened(row.name, 60)}, because it asks that {rule(row.rule_text)}, and {had}."
    )


def _asks_for(trait_key: str, rule_text: str) -> bool:
    """Whether a condition of the rule is about this trait. It stands before an operator; the same word in a value is none."""
    conditions = re.sub(VALUE, '""', rule_text)
    return bool(re.search(rf"(^|\(| and | or ){re.escape(trait_key)} [A-Z_]+( |\)|$)", conditions))


def check(name: str) -> str:
    """What a check of fct_experiment_health is called on a page."""
    return CHECKS.get(name, label(name))


def of_role(results: pandas.DataFrame, role: str) -> str:
    """What the secondary metrics or the guardrails say, in a line: `variant_b is losing on revenue; 5 more not decided.`"""
    own = results[(results.role == role) & (results.verdict != "control")]
    if own.empty:
        return "none is declared."
    if role == "guardrail":
        said = " ".join(guardrails(results))
        return said[:1].lower() + said[1:]
    decided = own[own.verdict.isin(DECIDED)]
    said = [f"{shortened(row.variation)} is {row.verdict} on {row.label}" for row in decided.itertuples()]
    open_ = len(own) - len(decided)
    return (
        "; ".join([*said, *([f"{number(open_)} {'more ' if said else ''}not decided"] if open_ else [])])
        + "."
    )


def for_whom(breakdowns: pandas.DataFrame) -> str:
    """What the breakdowns say, in a line."""
    if breakdowns.empty:
        return "No breakdown is declared."
    if breakdowns.lift.isna().all():
        return "There is too little data yet."
    by = [dimension(key) for key in dict.fromkeys(breakdowns.dimension)]
    named = f"By {', '.join(by[:4])}{' and more' if len(by) > 4 else ''}"
    differ = breakdowns[breakdowns.p_value_interaction < breakdowns.alpha]
    found = [
        f"{shortened(row.variation)} by {dimension(row.dimension)}"
        for row in differ.drop_duplicates(["dimension", "variation"]).itertuples()
    ]
    if not found:
        return f"{named}: the effect was not shown to differ."
    return f"{named}: the effect differs for {', '.join(found)}."


def others(overlap: pandas.DataFrame) -> str:
    """What the other experiments mean for this one, in a line."""
    if overlap.empty:
        return "none."
    count = overlap.other_experiment_key.nunique()
    fine = f"nothing shows that {'it disturbs' if count == 1 else 'they disturb'} this one"
    is_bad = (overlap.p_value_independence < overlap.alpha) | (overlap.p_value_interaction < overlap.alpha)
    return f"{number(count)}; {'look here before you decide' if is_bad.any() else fine}."


def change(reason: str) -> str:
    """What a change_reason is called on a page."""
    return CHANGES.get(reason, label(reason))


def did(row: tuple) -> str:
    """What an identity did by a metric, from a row of `people_behind`: `€13.50`, `nothing yet`."""
    return outcome(row) if row.outcome_count else "nothing yet"


def later(row: tuple) -> str | None:
    """Which variation an identity was given later, and why; None for those who saw one."""
    if not isinstance(row.quarantine_reason, str):
        return None
    reason = change(row.quarantine_reason)
    return f"{shortened(row.other_variation)}: {reason}" if isinstance(row.other_variation, str) else reason


def differences(breakdown: pandas.DataFrame, by: str) -> list[str]:
    """A sentence per variation: whether its effect differs between the values of a breakdown."""
    found = breakdown.dropna(subset=["p_value_interaction"]).drop_duplicates("variation")
    return [
        f"The effect of {shortened(row.variation)} {'differs' if row.p_value_interaction < row.alpha else 'was not shown to differ'} "
        f"by {by} (p {_p(row.p_value_interaction)}"
        + (
            f"; {quantity(row.values_left_out, 'value')} with too few identities left out"
            if row.values_left_out
            else ""
        )
        + ")."
        for row in found.itertuples()
    ]


def dimension(key: str) -> str:
    """What a breakdown is by: `trait:plan` → `plan`, `segment:vip` → `segment vip`."""
    kind, _, name = key.partition(":")
    return label(name) if kind == "trait" else f"{kind} {label(name)}"


def breakdown(row: tuple) -> str:
    """`free, variant_b: +24.2 %, between −6.0 % and +54.3 %.`"""
    return f"{shortened(row.dimension_value)}, {shortened(row.variation)}: {_between(row)}."


def _between(row: tuple) -> str:
    lift, low, high = (percent(value, signed=True) for value in (row.lift, row.low, row.high))
    return f"{lift}, between {low} and {high}"


def interaction(row: tuple) -> str:
    """How much an effect differs beside another experiment, with its interval, in the metric's unit."""
    if pandas.isna(row.interaction):
        return number(row.interaction)
    low, middle, high = (
        amount(value, row.aggregation, row.unit)
        for value in (row.interaction_low, row.interaction, row.interaction_high)
    )
    if middle.endswith(" %"):
        low, middle, high = low[:-2], f"{middle[:-2]} percentage points", high[:-2]
    return f"{middle}, between {low} and {high}"


def cell(row_number: float | None, column_name: str | None) -> str:
    """`, row 3, started_at`: what is known of the place of a problem."""
    row = "" if pandas.isna(row_number) else f", row {number(row_number)}"
    return row + ("" if pandas.isna(column_name) else f", {column_name}")


def side_by_side(row: tuple) -> str:
    """What a row of fct_experiment_overlap says, in a sentence."""
    if not row.identities:
        return "Nobody is in both."
    if pandas.isna(row.p_value_independence):
        few = ": too few people are in both" if row.independence_status == "too_few_identities" else ""
        dependent = f"Whether the two assignments depend on each other cannot be said{few}"
    elif row.p_value_independence < row.alpha:
        dependent = "Who got which variation here depends on the other experiment, so each effect contains a part of the other"
    else:
        dependent = "The two assignments were not shown to depend on each other"
    if pandas.isna(row.p_value_interaction):
        return f"{dependent}. Whether the effects depend on each other cannot be said: {UNKNOWN.get(row.status, label(row.status))}."
    together = (
        "The effects depend on each other: do not add up what each promises"
        if row.p_value_interaction < row.alpha
        else "The effects were not shown to depend on each other"
    )
    return f"{dependent}. {together}."


def _p(value: float) -> str:
    return p_value(value) if value < 0.001 else f"= {p_value(value)}"


def why(row: tuple) -> str:
    """Why an identity has a state: `the value changed, from the environment's default, by admin@example.com`."""
    if row.kind == "outcome":
        part = f"; in part for {row.counts_partly_for}" if isinstance(row.counts_partly_for, str) else ""
        return f"counts for {row.counts_for}{part}"
    if isinstance(row.quarantine_reason, str):
        return f"{row.why}; later given another variation: {change(row.quarantine_reason)}"
    if not isinstance(row.change_reason, str):
        return row.why
    origin = _origin(row)
    if row.change_reason == "first_seen":
        return f"{origin}, since the first evaluation"
    by = f", by {shortened(row.changed_by, 60)}" if isinstance(row.changed_by, str) else ""
    changed = change(row.change_reason)
    if row.change_reason == "toggled":
        changed = "switched off" if row.after == "off" else "switched on"
    # Where an override began, it is what holds now.
    now = "" if row.change_reason == f"{row.assignment_reason}_added" else f", now {origin}"
    return f"{changed}{now}{by}"


def _origin(row: tuple) -> str:
    """Where a flag's value comes from: `drawn by the 40 % share of variant_b`, where a percentage split gave it."""
    origin = ORIGINS.get(row.assignment_reason, row.assignment_reason)
    if pandas.isna(row.is_split) or not row.is_split or row.assignment_reason == "identity_override":
        return origin
    drawn = (
        "drawn by the percentage split"
        if pandas.isna(row.percentage_allocation)
        else f"drawn by the {round_percent(row.percentage_allocation / 100)} share of {shortened(row.after)}"
    )
    return drawn if row.assignment_reason == "environment_default" else f"{origin} ({drawn})"


def failed_refresh(refresh: dict) -> str:
    """What is known of a refresh that did not succeed, from its record."""
    error = shortened(refresh.get("error") or "its record does not say why", 300)
    return {
        "killed": "The last refresh was killed before it ended. The next one does its work.",
        "unknown": f"How the last refresh went is not known: {error}",
    }.get(refresh["result"], f"The last refresh failed: {error}")


def is_too_often(rate: dict) -> bool:
    """Whether a method's false alarms, in the answer of an A/A test, are more than chance explains."""
    return rate["low"] > rate["expected"]


def false_alarms(rate: dict) -> str:
    """`The Bayesian method, which decides, saw a difference in 9.5 % of the splits (between 7.8 % and 11.5 %). 10 % would be right.`"""
    low, high = percent(rate["low"]), percent(rate["high"])
    return (
        f"The {method(rate['method'])} method{', which decides,' if rate['is_declared'] else ''} saw a difference in "
        f"{percent(rate['rate'])} of the splits (between {low} and {high}). {capital(wanted(rate))} would be right."
        + (" So its verdicts on this metric come too easily." if is_too_often(rate) else "")
    )


def wanted(rate: dict) -> str:
    """How many false alarms a method should have: `10 %`, `at most 5 %`."""
    return f"{'at most ' if rate['method'] == 'sequential' else ''}{round_percent(rate['expected'])}"


def who_decides(decision_method: str | None) -> str:
    """Why an A/A test names no method that decides; empty where it does."""
    if decision_method is None:
        return "No experiment has this metric yet, so no method decides."
    if decision_method == "flagsmith":
        return "The Flagsmith method decides, which an A/A test does not try."
    return ""


def uniformity(value: float) -> str:
    """Whether the p-values of an A/A test are spread as they should be."""
    if value < 0.01:
        return (
            f"The p-values should be spread evenly, and are not (p {_p(value)}). Many small ones can come from a few identities with "
            "enormous outcomes, which winsorise_percentile limits. Gaps can come from outcomes that have few different values."
        )
    return f"The p-values should be spread evenly. They were not shown to be otherwise (p {_p(value)})."


def variance_saved(share: float | None) -> str:
    """What the adjustment by earlier outcomes saves."""
    if share is None:
        return "Nothing is adjusted: the metric has no before_days, or nobody had an outcome before."
    by = "The adjustment by what people did before (CUPED)"
    if share >= 0.0005:
        return f"{by} removes {percent(share)} of the variance, and so of the identities needed."
    noise = f", and adds {percent(-share)} to the variance" if share <= -0.0005 else ""
    return f"{by} saves nothing on this metric{noise}: leave before_days empty."


def outcome(row: tuple) -> str:
    """What an identity did on a day, by a metric: `€13.50`, `2 pages`, `twice`."""
    if row.aggregation == "hours_to_first":
        return f"after {quantity(row.outcome_sum, 'hour')}"
    times = int(row.outcome_count)
    # The unit of a count is a word for several, such as pages, or that of its mean.
    is_counted_in_unit = (
        row.aggregation == "count" and isinstance(row.unit, str) and row.unit != "%" and times > 1
    )
    if row.aggregation in ("occurrence", "days", "count") and not is_counted_in_unit:
        return {1: "once", 2: "twice"}.get(times, f"{number(times)} times")
    if row.aggregation in ("mean", "quantile"):
        average = amount(row.outcome_sum / row.outcome_count, row.aggregation, row.unit)
        return average if row.outcome_count == 1 else f"{average} on average"
    # A ratio's unit is that of the ratio.
    return amount(row.outcome_sum, row.aggregation, None if row.aggregation == "ratio" else row.unit)


def flag_change(row: tuple) -> str:
    """What somebody changed on a flag, from a row of fct_flag_changes: `admin@example.com changed the weights`."""
    who = shortened(row.changed_by, 60) if isinstance(row.changed_by, str) else "Somebody"
    if isinstance(row.identity, str):
        whom = f" for {shortened(row.identity, 60)}"
    else:
        whom = "" if pandas.isna(row.segment_id) else f" for segment {row.segment_id}"
    return f"{who} {_deed(row, bool(whom))}{whom}"


def _deed(row: tuple, is_override: bool) -> str:
    if row.event_type == "FLAG_DELETED":
        return "removed the override" if is_override else "deleted it"
    if (
        not (pandas.isna(row.old_enabled) or pandas.isna(row.new_enabled))
        and row.old_enabled != row.new_enabled
    ):
        return "switched it on" if row.new_enabled else "switched it off"
    if (
        isinstance(row.old_weights, str)
        and isinstance(row.new_weights, str)
        and row.old_weights != row.new_weights
    ):
        return "changed the weights"
    if isinstance(row.new_value, str) and row.new_value != row.old_value:
        before = f" from {shortened(row.old_value)}" if isinstance(row.old_value, str) else ""
        return f"changed the value{before} to {shortened(row.new_value)}"
    return f"said: {shortened(row.description, 120)}" if isinstance(row.description, str) else "changed it"


def evidence(
    stale: pandas.Series, flag: pandas.Series, others: pandas.DataFrame, changes: pandas.DataFrame
) -> list[str]:
    """Sentences that say why a flag can be removed.

    `stale`: its row of `stale_flags`; `flag`: that of dim_flags; `others`: how many identities were given each other
    variation, and when last; `changes`: its last row of fct_flag_changes, if there is one.
    """
    value = shortened(stale.everybody_gets)
    who = f"by {quantity(stale.identities, 'identity')} so far, the last time on {moment(flag.last_seen_at)}"
    said = [
        f"Since it was first seen, on {moment(stale.since)}, everybody has been given {value}."
        if others.empty
        else f"Somebody was last given another value on {moment(stale.since)}. Since then everybody has been given {value}.",
        f"It was evaluated {who}.",
    ]
    said += [
        f"{shortened(row.variation)} was given to {quantity(row.identities, 'identity')}, last on {moment(row.last_exposed_at)}."
        for row in others[:5].itertuples()
    ]
    said += [
        f"The last change in Flagsmith, on {moment(row.at)}: {flag_change(row)}."
        for row in changes.itertuples()
    ]
    return [*said, f"Before you remove it from Flagsmith, take it out of your code, where {value} stays."]


def verdicts(results: pandas.DataFrame) -> list[str]:
    """A sentence for each comparison of a primary metric, the decided ones first."""
    primary = results[(results.role == "primary") & (results.verdict != "control")]
    decided = primary.verdict.isin(DECIDED)
    return [verdict(row) for row in pandas.concat([primary[decided], primary[~decided]]).itertuples()]


def verdict(row: tuple) -> str:
    """`variant_b is winning on example purchased: +19.9 %, between +2.9 % and +36.9 %.`"""
    variation, metric = shortened(row.variation), row.label
    said = {
        "winning": f"{variation} is winning on {metric}",
        "losing": f"{variation} is losing on {metric}",
        "inconclusive": f"{variation} has not been shown to differ on {metric}",
    }.get(row.verdict, f"{variation} needs more data on {metric}")
    if pandas.isna(row.lift):
        return f"{said}."
    # If there is a verdict although the interval includes zero, the sentence gives the reason.
    is_close = row.verdict in DECIDED and row.low <= 0 <= row.high
    by = ", by Flagsmith's method" if row.decision_method == "flagsmith" else ""
    chance = f"; {percent(deciding_chance(row))} likely to be better{by}" if is_close else ""
    return f"{said}: {_between(row)}{chance}."


def secondary(results: pandas.DataFrame) -> list[str]:
    """Sentences about the decided secondary metrics."""
    decided = results[(results.role == "secondary") & results.verdict.isin(DECIDED)]
    return [verdict(row) for row in decided.itertuples()]


def guardrails(results: pandas.DataFrame) -> list[str]:
    """A sentence about the guardrails, if there are any."""
    guarded = results[(results.role == "guardrail") & (results.verdict != "control")]
    if guarded.empty:
        return []
    harmed = guarded[guarded.guardrail_status.isin(["harmed", "worse"])]
    if harmed.empty:
        is_unsure = (~guarded.guardrail_status.isin(["no_harm_shown", "not_worse_than_margin"])).any()
        return [
            "For some guardrails there is too little data."
            if is_unsure
            else "No guardrail was shown to be harmed."
        ]
    named = (
        f"{row.label} by {shortened(row.variation)} ({percent(row.lift, signed=True)})"
        for row in harmed.itertuples()
    )
    return [f"Guardrails harmed: {', '.join(named)}."]


def warnings(health: pandas.DataFrame) -> str:
    """`Two warnings.`, or that there are none."""
    counts = [
        (int((health.status == status).sum()), word)
        for status, word in (("alarm", "alarm"), ("warn", "warning"))
    ]
    said = [f"{counted(count, word)}." for count, word in counts if count]
    return " ".join(said) or "No warnings."


def counted(count: int, word: str) -> str:
    """`Two warnings`, `12 warnings`, `One warning`, `Two deliveries`: as a sentence begins."""
    spelled = NUMBERS[count] if count < len(NUMBERS) else number(count)
    return f"{spelled} {plural(count, word)}"


def quantity(count: float, word: str) -> str:
    """`1 hour`, `7.25 hours`, `1,875 identities`."""
    return f"{number(count)} {plural(count, word)}"


def from_to(first: pandas.Timestamp, last: pandas.Timestamp) -> str:
    """`from 1 September 2026, 10:00 to 3 September 2026, 11:00`; `on 1 September 2026, 10:00` where both are in one minute."""
    first, last = moment(first), moment(last)
    return f"on {last}" if first == last else f"from {first} to {last}"


def plural(count: float, word: str) -> str:
    """The word for so many: `identity` for what is written as 1, otherwise `identities`."""
    if number(count) == "1":
        return word
    return f"{word[:-1]}ies" if word.endswith(("ry", "ty")) else f"{word}s"


def stop(declared: pandas.Series, results: pandas.DataFrame, power: pandas.DataFrame) -> str:
    """Sentences about what can be decided now, and the date on which the experiment can be stopped."""
    primary = results[(results.role == "primary") & (results.verdict != "control")]
    if primary.empty:
        return ""
    if primary.verdict.isin(DECIDED).all():
        return "You can stop now: every primary comparison has its verdict."
    open_ = primary[~primary.verdict.isin(DECIDED)]
    waits = power.merge(open_[["metric_key", "variation"]]).dropna(subset=["days_left"])
    now = _decided_now(primary)
    if waits.empty:
        return f"{now}There is too little data yet to say when you can stop."
    slowest = waits.loc[waits.days_left.idxmax()]
    target = round_percent(slowest.target_lift)
    if slowest.days_left == 0:
        return f"{now}You can stop now: the experiment is large enough to find a lift of {target}."
    until = stop_day(declared, slowest.days_left)
    later = until is not None and not pandas.isna(declared.ended_at) and until > declared.ended_at
    when = (
        f"takes until {day(until)}: {quantity(round(slowest.days_left), 'more day')} at the current rate"
        if until is not None
        else "takes more than a century at the current rate"
    )
    return (
        f"{now}To {'also ' if now else ''}detect a {target} lift for {shortened(slowest.variation)} {when}. "
        + (f"That is after the declared end, {day(declared.ended_at)}. " if later else "")
        + f"The smallest lift that can be found today is {percent(slowest.minimum_detectable_lift)}."
    )


def silence(last: pandas.Timestamp, newest: pandas.Timestamp) -> str:
    """`silent for 61 days, since 28 September 2026`, beside the newest webhook of all environments; empty below two days."""
    if pandas.isna(last) or pandas.isna(newest) or newest - last < timedelta(days=2):
        return ""
    return f"silent for {quantity((newest - last).days, 'day')}, since {day(last)}"


def nothing_newer(experiment: tuple | pandas.Series, newest: pandas.Timestamp) -> str:
    """`production has been silent for 61 days, since …: nothing newer is counted.` Empty if it is heard of, or if the data know its end."""
    said = silence(experiment.last_received_at, newest) if experiment.status in ("running", ENDED) else ""
    return f"{shortened(experiment.environment)} has been {said}: nothing newer is counted." if said else ""


def _decided_now(primary: pandas.DataFrame) -> str:
    """`You can decide now on variant_b and variant_c. `, of the primary comparisons that have a verdict."""
    decided = primary[primary.verdict.isin(DECIDED)]
    several = primary.metric_key.nunique() > 1
    names = [
        f"{shortened(row.variation)} ({row.label})" if several else shortened(row.variation)
        for row in decided.itertuples()
    ]
    return (
        f"You can decide now on {' and '.join([', '.join(names[:-1]), names[-1]] if names[1:] else names)}. "
        if names
        else ""
    )


def stop_day(declared: pandas.Series, days_left: float) -> pandas.Timestamp | None:
    """The day after this many days; None if it is a century or more away."""
    if pandas.isna(days_left) or pandas.isna(declared.last_received_at) or days_left > 36_500:
        return None
    return (declared.last_received_at + timedelta(days=float(days_left))).ceil("D")


def counted_people(results: pandas.DataFrame, declared: pandas.Series, population: str, scope: Scope) -> str:
    """A sentence about who was compared, and how many."""
    arms = results.drop_duplicates("variation")
    return (
        f"{quantity(arms.identities.sum(), 'identity')} in {quantity(len(arms), 'variation')} of "
        f"{shortened(declared.feature_name, 60)}, "
        f"{people(population)}; {scope}; {declared.status}; decided by the {method(declared.decision_method)} method, "
        f"with {round_percent(1 - declared.alpha)} intervals, against {shortened(declared.control_variation)}."
    )


def deciding_chance(row: tuple) -> float:
    """The chance to win of the method that decides."""
    return row.flagsmith_chance_to_win if row.decision_method == "flagsmith" else row.chance_to_win


def markdown(
    title: str, sentences: Iterable[str], results: pandas.DataFrame, health: pandas.DataFrame
) -> str:
    """The read-out for a ticket: the decision, the numbers behind it and the warnings of the checks."""
    lines = [f"## {_plain(title)}", "", *(f"- {_plain(one)}" for one in sentences if one), ""]
    lines += [
        "| metric | role | variation | verdict | n | mean | lift | from | to | chance to win |",
        "|" + "---|" * 10,
    ]
    for row in results.itertuples():
        signed = [percent(value, signed=True) for value in (row.lift, row.low, row.high)]
        said = row.guardrail_status if row.role == "guardrail" else row.verdict
        texts = (row.label, row.role, shortened(row.variation), said.replace("_", " "))
        cells = [
            *texts,
            number(row.identities),
            amount(row.mean, row.aggregation, row.unit),
            *signed,
            percent(deciding_chance(row)),
        ]
        lines.append(f"| {' | '.join(map(_plain, cells))} |")
    found = health[health.status != "ok"]
    lines += ["", *(f"- {row.status}: {_plain(shortened(row.message, 300))}" for row in found.itertuples())]
    return "\n".join(lines).rstrip() + "\n"


def _plain(text: str) -> str:
    """A text that Markdown shows as it is."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in printable(text))
