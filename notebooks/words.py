"""Describe an experiment in words, from its numbers, as text that a product manager can paste."""

import pandas

from flagsmith_warehouse.notebooks.show import Scope, number, percent, round_percent, shortened


def read_out(
    declared: pandas.Series, results: pandas.DataFrame, power: pandas.DataFrame, people: str, scope: Scope
) -> str:
    """Return one paragraph.

    `declared`: the experiment's row of dim_experiments; `results`: its rows of fct_experiment_results in one
    population, with `lift`, `low`, `high` and `chance_to_win` as they decide; `power`: of fct_experiment_power;
    `people`: who is counted, like `everybody assigned`.
    """
    counted = results.drop_duplicates("variation").identities.sum()
    arms = results.variation.nunique()
    sentences = [
        f"The experiment {shortened(declared.experiment_key)} compared {arms} variations of "
        f"{shortened(declared.feature_name, 60)} among {people}: "
        f"{number(counted)} identities ({scope}; {declared.status})."
    ]
    rest = results[results.verdict != "control"]
    sentences += [_result(row, declared) for row in rest[rest.role == "primary"].itertuples()]
    secondary = rest[(rest.role == "secondary") & rest.verdict.isin(("winning", "losing"))]
    sentences += [_result(row, declared) for row in secondary.itertuples()]
    sentences += [_guardrails(rest[rest.role == "guardrail"]), _power(power, rest)]
    return " ".join(filter(None, sentences))


def _result(row: tuple, declared: pandas.Series) -> str:
    variation, metric = shortened(row.variation), shortened(row.metric_key)
    said = {
        "winning": f"{variation} is winning on {metric}",
        "losing": f"{variation} is losing on {metric}",
        "inconclusive": f"{variation} has not been shown to differ on {metric}",
    }.get(row.verdict, f"{variation} needs more data on {metric}")
    if pandas.isna(row.lift):
        return f"{said}."
    return (
        f"{said}: {percent(row.lift, signed=True)} against {shortened(declared.control_variation)} "
        f"({round_percent(1 - declared.alpha)} interval {percent(row.low, signed=True)} to {percent(row.high, signed=True)}; "
        f"mean {number(row.mean)} against {number(row.control_mean)}; chance to win {percent(row.chance_to_win)})."
    )


def _guardrails(guardrails: pandas.DataFrame) -> str:
    if guardrails.empty:
        return ""
    harmed = guardrails[guardrails.guardrail_status == "harmed"]
    if harmed.empty:
        unsure = (guardrails.guardrail_status != "no_harm_shown").any()
        return (
            "For some guardrails there is too little data."
            if unsure
            else "No guardrail was shown to be harmed."
        )
    named = (
        f"{shortened(row.metric_key)} by {shortened(row.variation)} ({percent(row.lift, signed=True)})"
        for row in harmed.itertuples()
    )
    return f"Guardrails harmed: {', '.join(named)}."


def _power(power: pandas.DataFrame, rest: pandas.DataFrame) -> str:
    primary = power[power.metric_key.isin(rest[rest.role == "primary"].metric_key)].dropna(
        subset=["days_left"]
    )
    if primary.empty:
        return ""
    slowest = primary.loc[primary.days_left.idxmax()]
    if slowest.days_left == 0:
        return f"It is large enough to find a lift of {round_percent(slowest.target_lift)}."
    return (
        f"It can find lifts from {percent(slowest.minimum_detectable_lift)} on; for {round_percent(slowest.target_lift)} "
        f"it would have to run about {number(round(slowest.days_left))} more days at the present rate."
    )
