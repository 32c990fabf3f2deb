import marimo

__generated_with = "0.25.2"

app = marimo.App(width="medium", app_title="Experiments", css_file="style.css")

with app.setup:
    import marimo as mo
    import pandas

    from flagsmith_warehouse.notebooks import charts, show, words
    from flagsmith_warehouse.notebooks.warehouse import ask, source

    ROLES = {"primary": "Primary metrics", "secondary": "Secondary metrics", "guardrail": "Guardrails"}
    # The columns of the CSV file below the metrics.
    SAVED = (
        *(
            "metric_key",
            "variation",
            "verdict",
            "guardrail_status",
            "identities",
            "mean",
            "lift",
            "low",
            "high",
        ),
        *("chance_to_win", "fixed_p_value", "p_value_holm", "sequential_p_value"),
    )


@app.cell
def _():
    read = source(
        *("dim_experiments", "fct_experiment_health", "fct_experiment_results"),
        *("fct_experiment_results_daily", "fct_experiment_power"),
    )
    show.masthead(
        "experiment_readout", f"Did it win, and can you trust the result? Source: {read.path.name}."
    )
    return (read,)


@app.cell
def _(read):
    mo.stop(read.problem is not None, mo.md(read.problem or ""))
    experiments = ask("""
        select *, coalesce(least(ended_at, last_received_at), last_received_at, started_at) as read_until
        from marts.dim_experiments
        order by status = 'running' desc, started_at desc, experiment_key
    """)
    mo.stop(
        experiments.empty,
        show.note(
            "No experiment is declared: add one to experiments.csv (docs/experiments.md), then refresh."
        ),
    )
    return (experiments,)


@app.cell
def _(experiments):
    experiment_picker = show.picker(
        "experiment", show.choices(experiments.experiment_key, experiments.experiment_key), "Experiment"
    )
    show.choice(experiment_picker)
    return (experiment_picker,)


@app.cell
def _(experiment_picker):
    experiment = experiment_picker.value
    return (experiment,)


@app.cell
def _(experiment):
    found = ask(
        """
        select distinct results.population, experiments.primary_population
        from marts.fct_experiment_results as results
        inner join marts.dim_experiments as experiments on results.experiment_key = experiments.experiment_key
        where results.experiment_key = $experiment
        -- The one that decides comes first.
        order by results.population <> experiments.primary_population, results.population
        """,
        experiment=experiment,
    )
    populations = list(found.population) or ["assigned"]
    population_picker = show.picker(
        "population", {words.people(one): one for one in populations}, "Population"
    )
    show.choice(population_picker)
    return (population_picker,)


@app.cell
def _(population_picker):
    population = population_picker.value
    return (population,)


@app.cell
def _(experiment, experiments, population):
    declared = experiments[experiments.experiment_key == experiment].iloc[0]
    title = words.label(declared.get("name") or experiment)
    scope = show.Scope(declared.environment, declared.started_at.date(), declared.read_until.date())
    health = ask(
        """
        select check_name, epoch, status, value, threshold, message, spoils_results
        from marts.fct_experiment_health
        where experiment_key = $experiment
        order by array_position(['alarm', 'warn', 'ok'], status), check_name, epoch
        """,
        experiment=experiment,
    )
    computed = ask(
        """
        select
            *,
            case when cuped_status = 'ok' then cuped_relative_lift else relative_lift end as lift,
            case when cuped_status = 'ok' then cuped_relative_low else relative_low end as fixed_low,
            case when cuped_status = 'ok' then cuped_relative_high else relative_high end as fixed_high,
            case when cuped_status = 'ok' then cuped_relative_p_value else relative_p_value end as fixed_p_value,
            case when cuped_status = 'ok' then cuped_relative_sequential_low else relative_sequential_low end as sequential_low,
            case when cuped_status = 'ok' then cuped_relative_sequential_high else relative_sequential_high end as sequential_high,
            case when cuped_status = 'ok' then cuped_relative_sequential_p_value else relative_sequential_p_value end
                as sequential_p_value,
            case when cuped_status = 'ok' then cuped_relative_chance_to_win else relative_chance_to_win end as chance_to_win,
            -- The interval that the declared method decides by.
            case when decision_method = 'sequential' then sequential_low else fixed_low end as low,
            case when decision_method = 'sequential' then sequential_high else fixed_high end as high
        from marts.fct_experiment_results
        where experiment_key = $experiment and population = $population
        order by
            array_position(['primary', 'secondary', 'guardrail'], role), metric_key, verdict <> 'control', variation
        """,
        experiment=experiment,
        population=population,
    )
    computed["label"] = computed.metric_key.map(words.label)
    return computed, declared, health, scope, title


@app.cell
def _(computed, declared, health, scope, title):
    # Every cell below reads `results`, which exist only if the experiment can be trusted.
    alarms = health[(health.status == "alarm") & health.spoils_results]
    is_trusted = alarms.empty and not (computed.verdict == "do_not_trust").any() and not computed.empty
    reasons = computed[computed.verdict == "do_not_trust"].verdict_reason.unique()
    why = [*alarms.message] or (
        [declared.problem] if declared.problem else [*reasons] or ["Nobody has been assigned yet."]
    )
    mo.stop(
        not is_trusted,
        show.card(
            title,
            show.joined(show.badge("do_not_trust"), show.badge(declared.status), by=" "),
            show.paragraph("Do not trust this experiment: no result is shown."),
            show.sentences(show.shortened(one, 300) for one in why),
            show.paragraph(str(scope), "faint"),
            kind="card decision",
            level=2,
        ),
    )
    results = computed
    return (results,)


@app.cell
def _(experiment, population, results):
    mo.stop(results.empty)
    power = ask(
        """
        select metric_key, variation, status, identities, target_lift, minimum_detectable_lift, days_left
        from marts.fct_experiment_power
        where experiment_key = $experiment and population = $population
        order by metric_key, variation
        """,
        experiment=experiment,
        population=population,
    )
    return (power,)


@app.cell
def _(declared, health, population, power, results, scope, title):
    verdicts = words.verdicts(results)
    further = [words.warnings(health), *words.others(results), words.stop(declared, results, power)]
    counted = words.counted_people(results, declared, population, scope)
    in_words = " ".join(filter(None, [*verdicts, *further, counted]))
    badges = [
        show.badge(row.verdict, f"{show.shortened(row.variation)} {show.BADGES[row.verdict][1]}")
        for row in results[(results.role == "primary") & (results.verdict != "control")].itertuples()
    ]
    show.card(
        title,
        show.joined(show.badge(declared.status), *badges, by=" "),
        *(show.paragraph(one) for one in [declared.get("description") or "", *verdicts] if one),
        show.sentences(one for one in further if one),
        show.paragraph(counted, "faint"),
        show.to_copy(
            "Copy as Markdown", words.markdown(title, [*verdicts, *further, counted], results, health)
        ),
        kind="card decision",
        level=2,
    )
    return (in_words,)


@app.cell
def _(health, scope):
    failed = health[health.status != "ok"]
    line = (
        f"Health: {words.warnings(health).lower().rstrip('.')}; {len(health) - len(failed)} checks are fine"
    )
    checks = show.table(
        health,
        f"Checks, {scope}",
        {
            "status": "Status",
            "check_name": "Check",
            "epoch": "Epoch (0: all)",
            "value": "Found",
            "threshold": "Limit",
            "message": "What it means",
        },
        {"status": show.badge, "check_name": words.label},
        otherwise="No check was made yet.",
    )
    messages = [show.joined(show.badge(row.status), " ", row.message) for row in failed.itertuples()]
    show.joined(show.sentences(messages) if messages else None, show.folded(line, checks))
    return


@app.cell
def _(results):
    both = results[["fixed_low", "fixed_high", "sequential_low", "sequential_high"]]
    limits = (
        (max(both.min().min(), -1.2), min(both.max().max(), 2.0)) if both.notna().any().any() else (-1, 1)
    )
    limits = (min(limits[0], -0.01), max(limits[1], 0.01))

    def interval(row: tuple) -> show.Html:
        kind = show.BADGES[row.verdict][2]
        said = words.verdict(row)
        return charts.interval(
            row.low, row.lift, row.high, limits, kind, said, (row.sequential_low, row.sequential_high)
        )

    def lift_between(row: tuple) -> show.Html:
        if pandas.isna(row.lift):
            return show.Html(show.NOTHING)
        return show.Html(
            f"<b>{show.percent(row.lift, signed=True)}</b><br>"
            f'<span class="faint">{show.percent(row.low, signed=True)} and {show.percent(row.high, signed=True)}</span>'
        )

    estimates = results.assign(
        said=results.verdict.where(
            (results.role != "guardrail") | (results.verdict == "control"), results.guardrail_status
        ),
        interval=[interval(row) for row in results.itertuples()],
        lift_between=[lift_between(row) for row in results.itertuples()],
    )
    return (estimates,)


@app.cell
def _(declared, estimates, population, scope):
    def metrics(role: str) -> show.Html:
        return show.table(
            estimates[estimates.role == role],
            f"{ROLES[role]} among {words.people(population)}, {scope}",
            {
                "label": "Metric",
                "variation": "Variation",
                "said": "Verdict",
                "interval": "Lift with its interval",
                "lift_between": "Lift",
                "chance_to_win": "Chance to win",
                "mean": "Mean",
                "identities": "n",
            },
            {
                "said": show.badge,
                "interval": lambda drawn: drawn,
                "lift_between": lambda drawn: drawn,
                "chance_to_win": show.percent,
            },
            otherwise="None is declared.",
            is_full=True,
            saved=SAVED,
        )

    p_values = show.table(
        estimates[estimates.verdict != "control"],
        f"p-values among {words.people(population)}, {scope}",
        {
            "label": "Metric",
            "variation": "Variation",
            "fixed_p_value": "p, if read once at the end",
            "p_value_holm": "the same, with Holm's correction",
            "sequential_p_value": "p, if read every day",
        },
        dict.fromkeys(("fixed_p_value", "p_value_holm", "sequential_p_value"), show.p_value),
    )
    tables = [metrics(role) for role in ROLES]
    show.joined(
        show.paragraph(
            f"The bar is the {show.round_percent(1 - declared.alpha)} interval by which the "
            f"{show.shortened(declared.decision_method)} method decides; the thin line is the interval that stays valid "
            "if you look every day; the dashed line means no difference. docs/experiments.md has the formulas.",
            "faint",
        ),
        *tables,
        show.folded("p-values", p_values),
    )
    return


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
    widest = 1.25 * max([0.1, *last.low.abs().dropna(), *last.high.abs().dropna()])
    trend_chart = charts.lines(
        trend,
        "lift",
        "variation",
        title=f"Lift of {words.label(metric)} by day, with the interval that stays valid if you look every day",
        heading="relative lift so far",
        scope=scope,
        write=lambda value: show.percent(value, signed=True),
        band=("low", "high"),
        limits=(-widest, widest),
    )
    trend_chart
    return


@app.cell
def _(declared, power, scope):
    show.table(
        power.assign(
            label=power.metric_key.map(words.label),
            stop_on=[words.stop_day(declared, days) for days in power.days_left],
        ),
        f"When you can stop, {scope}",
        {
            "label": "Metric",
            "variation": "Variation",
            "identities": "Identities",
            "target_lift": "Target lift",
            "minimum_detectable_lift": "Smallest detectable lift",
            "days_left": "Days left at this rate",
            "stop_on": "You can stop on",
        },
        {
            "target_lift": show.round_percent,
            "minimum_detectable_lift": show.percent,
            "days_left": lambda days: show.number(round(days)) if days == days else show.NOTHING,
            "stop_on": lambda value: show.NOTHING if pandas.isna(value) else show.day(value),
        },
        otherwise="There is nothing to compare yet.",
    )
    return


if __name__ == "__main__":
    app.run()
