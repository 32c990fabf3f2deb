import marimo

__generated_with = "0.25.2"

app = marimo.App(width="full", app_title="Experiment read-out")

with app.setup:
    import marimo as mo

    from flagsmith_warehouse.notebooks import show
    from flagsmith_warehouse.notebooks.warehouse import ask, source
    from flagsmith_warehouse.notebooks.words import read_out

    POPULATIONS = {
        "assigned": "everybody assigned",
        "until_change": "everybody assigned, until the weights changed",
        "undisturbed": "those who saw one variation",
        "activated": "those activated",
    }


@app.cell
def _():
    read = source(
        *("dim_experiments", "fct_experiment_health", "fct_experiment_results"),
        *("fct_experiment_results_daily", "fct_experiment_power"),
    )
    mo.stop(read.problem is not None, mo.md(read.problem or ""))
    experiments = ask("""
        select *, coalesce(least(ended_at, last_received_at), last_received_at, started_at) as read_until
        from marts.dim_experiments
        order by status = 'running' desc, started_at desc, experiment_key
    """)
    mo.stop(
        experiments.empty,
        show.note(
            "No experiment is declared: add one to seeds/experiments.csv (docs/experiments.md), then refresh."
        ),
    )
    return experiments, read


@app.cell
def _(read):
    mo.md(f"""
    # Experiment read-out

    Whether the experiment can be believed, and only then what came of it. Every column's formula is in
    `docs/experiments.md`. Read from `{read.path.name}`.
    """)
    return


@app.cell
def _(experiments):
    experiment_choices = show.choices(experiments.experiment_key, experiments.experiment_key)
    experiment_picker = mo.ui.dropdown(experiment_choices, next(iter(experiment_choices)), label="Experiment")
    experiment_picker
    return (experiment_picker,)


@app.cell
def _(experiment_picker):
    experiment = experiment_picker.value
    return (experiment,)


@app.cell
def _(experiment, experiments):
    # The population that decides comes first; those activated are shown where an activation event is declared.
    of_experiment = experiments[experiments.experiment_key == experiment].iloc[0]
    choices = {
        text: name
        for name, text in POPULATIONS.items()
        if name != "activated" or isinstance(of_experiment.activation_event, str)
    }
    deciding = POPULATIONS[of_experiment.primary_population]
    population_picker = mo.ui.dropdown(choices, deciding if deciding in choices else None, label="Population")
    population_picker
    return (population_picker,)


@app.cell
def _(population_picker):
    population = population_picker.value
    return (population,)


@app.cell
def _(experiment, experiments):
    declared = experiments[experiments.experiment_key == experiment].iloc[0]
    scope = show.Scope(
        declared.environment, declared.started_at.date(), max(declared.read_until, declared.started_at).date()
    )
    health = ask(
        """
        select check_name, epoch, status, value, threshold, message, spoils_results
        from marts.fct_experiment_health
        where experiment_key = $experiment
        order by array_position(['alarm', 'warn', 'ok'], status), check_name, epoch
        """,
        experiment=experiment,
    )
    show.Html(
        f"{show.heading(experiment)}<p>Flag <b>{show.escape(show.shortened(declared.feature_name, 200))}</b>, "
        f"{show.escape(str(scope))}, control is <b>{show.escape(show.shortened(declared.control_variation))}</b>, "
        f"{declared.status}; decided by the {show.escape(show.shortened(declared.decision_method))} method.</p>"
    )
    return declared, health, scope


@app.cell
def _(health, scope):
    show.table(
        health,
        f"Health first, {scope}",
        {
            "status": "Status",
            "check_name": "Check",
            "epoch": "Epoch (0: all)",
            "value": "Found",
            "threshold": "Limit",
            "message": "What it means",
        },
        otherwise="No check was made yet.",
    )
    return


@app.cell
def _(experiment, population):
    computed = ask(
        """
        select
            *,
            case when cuped_status = 'ok' then cuped_relative_lift else relative_lift end as lift,
            case when cuped_status = 'ok' then cuped_relative_low else relative_low end as low,
            case when cuped_status = 'ok' then cuped_relative_high else relative_high end as high,
            case when cuped_status = 'ok' then cuped_relative_p_value else relative_p_value end as fixed_p_value,
            case when cuped_status = 'ok' then cuped_relative_sequential_low else relative_sequential_low end as sequential_low,
            case when cuped_status = 'ok' then cuped_relative_sequential_high else relative_sequential_high end as sequential_high,
            case when cuped_status = 'ok' then cuped_relative_sequential_p_value else relative_sequential_p_value end
                as sequential_p_value,
            case when cuped_status = 'ok' then cuped_relative_chance_to_win else relative_chance_to_win end as chance_to_win
        from marts.fct_experiment_results
        where experiment_key = $experiment and population = $population
        order by
            array_position(['primary', 'secondary', 'guardrail'], role), metric_key, verdict <> 'control', variation
        """,
        experiment=experiment,
        population=population,
    )
    return (computed,)


@app.cell
def _(computed, declared, health):
    # Every cell below reads `results`, which there are only where the experiment can be trusted.
    alarms = health[(health.status == "alarm") & health.spoils_results]
    is_trusted = alarms.empty and not (computed.verdict == "do_not_trust").any() and not computed.empty
    reasons = computed[computed.verdict == "do_not_trust"].verdict_reason.unique()
    why = " ".join(alarms.message) or declared.problem or " ".join(reasons) or "Nobody has been assigned yet."
    mo.stop(not is_trusted, show.note(f"Do not trust this experiment: no result is shown. {why}"))
    results = computed
    return (results,)


@app.cell
def _(experiment, population, results):
    mo.stop(results.empty)
    power = ask(
        """
        select metric_key, variation, status, identities, target_lift, minimum_detectable_lift, days_so_far, days_left
        from marts.fct_experiment_power
        where experiment_key = $experiment and population = $population
        order by metric_key, variation
        """,
        experiment=experiment,
        population=population,
    )
    return (power,)


@app.cell
def _(declared, population, power, results, scope):
    in_words = read_out(declared, results, power, POPULATIONS[population], scope)
    show.Html(f"{show.heading('In words')}<p>{show.escape(in_words)}</p>")
    return (in_words,)


@app.cell
def _(declared, population, results, scope):
    compared = results[(results.verdict != "control") & (results.role != "guardrail")]
    compared = compared.assign(comparison=compared.metric_key + ": " + compared.variation)
    fixed = compared.assign(test="fixed (read once, at the end)")
    always = compared.assign(
        test="sequential (may be read every day)", low=compared.sequential_low, high=compared.sequential_high
    )
    both = show.stacked(fixed, always)
    lift_chart = show.intervals(
        both,
        "comparison",
        "test",
        title=f"Lift among {POPULATIONS[population]} over {show.shortened(declared.control_variation)}, "
        f"with its {show.round_percent(1 - declared.alpha)} interval",
        heading="relative lift (%)",
        scope=scope,
    )
    lift_chart
    return both, compared


@app.cell
def _(population, results, scope):
    show.table(
        results[results.role != "guardrail"],
        f"Results among {POPULATIONS[population]}, {scope}",
        {
            "metric_key": "Metric",
            "variation": "Variation",
            "verdict": "Verdict",
            "identities": "Identities",
            "mean": "Mean",
            "lift": "Lift",
            "low": "From",
            "high": "To",
            "chance_to_win": "Chance to win",
            "fixed_p_value": "p, fixed",
            "sequential_p_value": "p, sequential",
        },
        {
            "lift": lambda value: show.percent(value, signed=True),
            "low": lambda value: show.percent(value, signed=True),
            "high": lambda value: show.percent(value, signed=True),
            "chance_to_win": show.percent,
            "fixed_p_value": show.p_value,
            "sequential_p_value": show.p_value,
        },
    )
    return


@app.cell
def _(population, results, scope):
    guardrails = results[(results.role == "guardrail") & (results.verdict != "control")]
    show.table(
        guardrails,
        f"Guardrails among {POPULATIONS[population]}, {scope}",
        {
            "metric_key": "Metric",
            "variation": "Variation",
            "guardrail_status": "Status",
            "mean": "Mean",
            "lift": "Lift",
            "low": "From",
            "high": "To",
        },
        {name: (lambda value: show.percent(value, signed=True)) for name in ("lift", "low", "high")},
        otherwise="No guardrail is declared.",
    )
    return (guardrails,)


@app.cell
def _(experiment, population, results):
    metric = results.metric_key.iloc[0]
    trend = ask(
        """
        select
            day,
            variation,
            case when cuped_status = 'ok' then cuped_relative_lift else relative_lift end as lift,
            case when cuped_status = 'ok' then cuped_relative_sequential_low else relative_sequential_low end as low,
            case when cuped_status = 'ok' then cuped_relative_sequential_high else relative_sequential_high end as high
        from marts.fct_experiment_results_daily
        where experiment_key = $experiment and population = $population and metric_key = $metric and status <> 'control'
        order by day, variation
        """,
        experiment=experiment,
        population=population,
        metric=metric,
    )
    return metric, trend


@app.cell
def _(metric, scope, trend):
    last = trend[trend.day == trend.day.max()]
    widest = 2 * max([0.1, *last.low.abs().dropna(), *last.high.abs().dropna()])
    trend_chart = show.lines(
        trend,
        "lift",
        "variation",
        title=f"Lift of {show.shortened(metric)} by day, with the always-valid interval",
        heading="relative lift so far (%)",
        scope=scope,
        number_format="+.0%",
        band=("low", "high"),
        limits=(-widest, widest),
    )
    trend_chart
    return


@app.cell
def _(power, scope):
    show.table(
        power,
        f"What it can find, {scope}",
        {
            "metric_key": "Metric",
            "variation": "Variation",
            "identities": "Identities",
            "target_lift": "Lift looked for",
            "minimum_detectable_lift": "Can find from",
            "days_so_far": "Days so far",
            "days_left": "Days left at this rate",
        },
        {
            "target_lift": show.round_percent,
            "minimum_detectable_lift": show.percent,
            "days_so_far": lambda days: show.number(round(days)) if days == days else show.NOTHING,
            "days_left": lambda days: show.number(round(days)) if days == days else show.NOTHING,
        },
        otherwise="There is nothing to compare yet.",
    )
    return


if __name__ == "__main__":
    app.run()
