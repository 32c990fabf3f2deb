import marimo

__generated_with = "0.25.2"

app = marimo.App(width="medium", app_title="Experiments", css_file="style.css")

with app.setup:
    import marimo as mo
    import pandas

    from flagsmith_warehouse.loader.operations.status import STATUS_NOW, wall_clock
    from flagsmith_warehouse.notebooks import charts, show, words
    from flagsmith_warehouse.notebooks.warehouse import DECIDING, ask, people_behind, reported_people, source

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
        *("chance_to_win", "flagsmith_chance_to_win", "fixed_p_value", "p_value_holm", "sequential_p_value"),
    )
    SAVED_BY = (
        *("dimension", "dimension_value", "variation", "status", "identities_matured", "lift", "low", "high"),
        *("chance_to_win", "p_value_interaction", "p_value_benjamini_hochberg"),
    )
    SAVED_OVERLAP = (
        *("other_experiment_key", "metric_key", "status", "identities", "p_value_independence"),
        *("interaction", "interaction_low", "interaction_high", "p_value_interaction"),
    )


@app.cell
def _():
    read = source(
        *("dim_experiments", "dim_metrics", "fct_experiment_health", "fct_experiment_results"),
        *("fct_experiment_results_daily", "fct_experiment_results_by", "fct_experiment_curves"),
        *("fct_experiment_overlap", "fct_experiment_power", "fct_deliveries_hourly"),
        *("fct_experiment_assignments", "fct_experiment_outcomes", "dim_identities"),
    )
    show.masthead(
        "experiment_readout", f"Did it win, and can you trust the result? Source: {read.path.name}."
    )
    return (read,)


@app.cell
def _(read):
    mo.stop(read.problem is not None, mo.md(read.problem or ""))
    experiments = ask(
        f"""
        select
            experiments.* replace ({STATUS_NOW} as status),
            coalesce(least(ended_at, last_received_at), last_received_at, started_at) as read_until,
            (select max(last_received_at) from marts.fct_deliveries_hourly) as newest_at
        from marts.dim_experiments as experiments
        order by experiments.status = 'running' desc, started_at desc, experiment_key
        """,
        now=wall_clock(),
    )
    mo.stop(
        experiments.empty,
        show.note(
            "No experiment is declared: add one to experiments.csv (docs/experiments.md), then refresh."
        ),
    )
    return (experiments,)


@app.cell
def _(experiments):
    called = map(words.called, experiments.experiment_key, experiments["name"])
    experiment_picker = show.picker(
        "experiment", show.choices(called, experiments.experiment_key), "Experiment", searchable=True
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
    title = words.called(experiment, declared["name"])
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
        f"""
        select
            results.*,
            metrics.name as metric_name,
            metrics.aggregation,
            metrics.unit,
            {DECIDING},
            case when cuped_status = 'ok' then cuped_relative_p_value else relative_p_value end as fixed_p_value,
            case when cuped_status = 'ok' then cuped_relative_sequential_low else relative_sequential_low end as sequential_low,
            case when cuped_status = 'ok' then cuped_relative_sequential_high else relative_sequential_high end as sequential_high,
            case when cuped_status = 'ok' then cuped_relative_sequential_p_value else relative_sequential_p_value end
                as sequential_p_value
        from marts.fct_experiment_results as results
        left join marts.dim_metrics as metrics on results.metric_key = metrics.metric_key
        where experiment_key = $experiment and population = $population
        order by
            array_position(['primary', 'secondary', 'guardrail'], role), results.metric_key, verdict <> 'control', variation
        """,
        experiment=experiment,
        population=population,
    )
    computed["label"] = list(map(words.called, computed.metric_key, computed.metric_name))
    return computed, declared, health, scope, title


@app.cell
def _(computed, declared, health, scope, title):
    # Every cell below but the checks reads `results`, which exist only if the experiment can be trusted.
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
    # Where there is too little data, the mart says so of control too. Control is compared with nothing.
    is_control = computed.variation == declared.control_variation
    results = computed.assign(verdict=computed.verdict.mask(is_control, "control"))
    return (results,)


@app.cell
def _(experiment, population, results):
    mo.stop(results.empty)
    power = ask(
        """
        select
            power.metric_key,
            metrics.name as metric_name,
            variation,
            status,
            identities,
            target_lift,
            minimum_detectable_lift,
            days_left
        from marts.fct_experiment_power as power
        left join marts.dim_metrics as metrics on power.metric_key = metrics.metric_key
        where experiment_key = $experiment and population = $population
        order by power.metric_key, variation
        """,
        experiment=experiment,
        population=population,
    )
    return (power,)


@app.cell
def _():
    def messages(checks: pandas.DataFrame) -> show.Html:
        """What checks say, one per item."""
        return show.sentences(
            show.joined(show.badge(row.status), " ", row.message) for row in checks.itertuples()
        )

    return (messages,)


@app.cell
def _(declared, health, messages, population, power, results, scope, title):
    verdicts = words.verdicts(results)
    warned, guarded = words.warnings(health), words.guardrails(results)
    failed = health[health.status != "ok"]
    stop = words.stop(declared, results, power)
    silent = words.nothing_newer(declared, declared.newest_at)
    said = [one for one in (silent, *guarded, stop) if one]
    further = [silent, warned, *words.secondary(results), *guarded, stop]
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
        # The tables below have the secondary metrics.
        show.sentences(said) if said else None,
        show.paragraph(warned) if failed.empty else show.folded(warned, messages(failed)),
        show.paragraph(counted, "faint"),
        show.to_copy(
            "Copy as Markdown", words.markdown(title, [*verdicts, *further, counted], results, health)
        ),
        kind="card decision",
        level=2,
    )
    return (in_words,)


@app.cell
def _(health, messages, scope):
    fine = (health.status == "ok").sum()
    line = f"Health: {words.warnings(health).lower().rstrip('.')}; {fine} of {len(health)} checks are fine"
    checks = show.table(
        health,
        f"Checks, {scope}",
        {
            "status": "Status",
            "check_name": "Check",
            "epoch": "Period between changes of the weights (0: all)",
            "value": "Found",
            "threshold": "Limit",
            "message": "What it means",
        },
        {"status": show.badge, "check_name": words.check},
        otherwise="No check was made yet.",
    )
    # Alarms are in sight; the rest opens with a click.
    alarming = health[health.status == "alarm"]
    control = show.Html(
        f"<p>How often is a difference found where there is none? {show.link('A/A tests', 'aa_tests').html}</p>"
    )
    show.joined(
        None if alarming.empty else messages(alarming), show.folded(line, show.joined(checks, control))
    )
    return


@app.cell
def _(results):
    limits = charts.limits(results[["low", "high", "sequential_low", "sequential_high"]])

    def interval(row: tuple) -> show.Html:
        kind = show.BADGES[row.verdict][2]
        said = words.verdict(row)
        return charts.interval(
            row.low, row.lift, row.high, limits, kind, said, (row.sequential_low, row.sequential_high)
        )

    estimates = results.assign(
        said=results.verdict.where(
            (results.role != "guardrail") | (results.verdict == "control"), results.guardrail_status
        ),
        interval=[interval(row) for row in results.itertuples()],
        lift_between=[show.between(row.lift, row.low, row.high) for row in results.itertuples()],
        mean_in_unit=[words.amount(row.mean, row.aggregation, row.unit) for row in results.itertuples()],
    )
    return (estimates,)


@app.cell
def _(declared, estimates, population, scope):
    is_flagsmiths = declared.decision_method == "flagsmith"
    theirs = {"flagsmith_chance_to_win": "Flagsmith's chance to win"} if is_flagsmiths else {}

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
                **theirs,
                "chance_to_win": "Our chance to win" if is_flagsmiths else "Chance to win",
                "mean_in_unit": "Mean",
                "identities": "n",
            },
            {"said": show.badge, "chance_to_win": show.percent, "flagsmith_chance_to_win": show.percent},
            otherwise="None is declared.",
            is_full=True,
            numbers=("mean_in_unit",),
            saved=SAVED,
        )

    return (metrics,)


@app.cell
def _(declared, estimates, metrics, population, scope):
    # The primary metrics decide, so they are in sight. What a line says of the others is enough for most readers.
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
    show.joined(
        metrics("primary"),
        *(
            show.folded(f"{ROLES[role]}: {words.of_role(estimates, role)}", metrics(role))
            for role in ("secondary", "guardrail")
        ),
        show.folded("p-values: how often chance alone would show such a difference", p_values),
        show.folded(
            "How to read these numbers, and what decides",
            show.sentences(words.reading(declared.decision_method, declared.alpha)),
        ),
    )
    return


@app.cell
def _(results):
    # The primary metric comes first. What follows is about one metric.
    named = results.drop_duplicates("metric_key")
    metric_picker = show.picker("metric", show.choices(named.label, named.metric_key, 60), "Look closer at")
    show.choice(metric_picker)
    return (metric_picker,)


@app.cell
def _(metric_picker):
    metric = metric_picker.value
    return (metric,)


@app.cell
def _(experiment, metric, population, results):
    asked = {"experiment": experiment, "population": population, "metric": metric}
    metric_name = results.label[results.metric_key == metric].iloc[0]
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
        **asked,
    )
    curves = ask(
        f"""
        select days_since_exposure, variation, {DECIDING}
        from marts.fct_experiment_curves as curves
        inner join marts.dim_experiments as experiments using (experiment_key)
        where
            experiment_key = $experiment and population = $population and metric_key = $metric and curves.status = 'ok'
        order by days_since_exposure, variation
        """,
        **asked,
    )
    breakdowns = ask(
        f"""
        select
            dimension,
            dimension_value,
            variation,
            results.status,
            identities_matured,
            p_value_interaction,
            values_left_out,
            p_value_benjamini_hochberg,
            comparisons,
            alpha,
            {DECIDING}
        from marts.fct_experiment_results_by as results
        inner join marts.dim_experiments as experiments using (experiment_key)
        where
            experiment_key = $experiment
            and population = $population
            and metric_key = $metric
            and results.variation <> experiments.control_variation
        -- What is left over comes last.
        order by dimension, variation, dimension_value in ('(others)', '(none)'), dimension_value
        """,
        **asked,
    )
    return breakdowns, curves, metric_name, trend


@app.cell
def _(metric_name, scope, trend):
    trend_chart = charts.lines(
        trend,
        "lift",
        "variation",
        title=f"Lift of {metric_name} by day, with the interval that stays valid if you look every day",
        heading="relative lift so far",
        scope=scope,
        write=lambda value: show.percent(value, signed=True),
        band=("low", "high"),
        limits=charts.around(trend[trend.day == trend.day.max()]),
    )
    trend_chart
    return


@app.cell
def _(curves, metric_name, scope):
    # The first and the last days are uncertain, so their intervals may leave the scale.
    width = curves.high - curves.low
    curves_chart = charts.lines(
        curves,
        "lift",
        "variation",
        title=f"Does the lift of {metric_name} last? By days since each identity's first evaluation",
        heading="relative lift so far (later days have fewer identities)",
        scope=scope,
        time="days_since_exposure",
        write=lambda value: show.percent(value, signed=True),
        band=("low", "high"),
        limits=charts.around(curves[width <= width.quantile(0.7)]),
    )
    show.folded(f"Does the lift of {metric_name} last? By days since the first evaluation", curves_chart)
    return (curves_chart,)


@app.cell
def _(breakdowns, metric_name, population, scope):
    def breakdown(dimension: str) -> show.Html:
        own = breakdowns[breakdowns.dimension == dimension]
        by = words.dimension(dimension)
        limits = charts.limits(own[["low", "high"]])
        drawn = own.assign(
            interval=[
                charts.interval(row.low, row.lift, row.high, limits, "", words.breakdown(row))
                for row in own.itertuples()
            ],
            lift_between=[show.between(row.lift, row.low, row.high) for row in own.itertuples()],
        )
        found = show.table(
            drawn,
            f"{show.capital(metric_name)} by {by} among {words.people(population)}, {scope}",
            {
                "variation": "Variation",
                "dimension_value": show.capital(by),
                "interval": "Lift with its interval",
                "lift_between": "Lift",
                "p_value_benjamini_hochberg": f"p, corrected for {words.quantity(own.comparisons.max(), 'comparison')}",
                "identities_matured": "n",
            },
            {
                "p_value_benjamini_hochberg": show.p_value,
            },
            is_full=True,
            saved=SAVED_BY,
        )
        return show.joined(found, show.sentences(words.differences(own, by)))

    answers = (
        show.joined(
            show.paragraph(
                "The value at the identity's first evaluation. Look here for questions, not for decisions.",
                "faint",
            ),
            *map(breakdown, dict.fromkeys(breakdowns.dimension)),
        )
        if breakdowns.lift.notna().any()
        else show.note(
            "There is too little data yet to compare any value."
            if len(breakdowns)
            else "No breakdown is declared: name traits, segments or cohorts in the column breakdowns of experiments.csv."
        )
    )
    show.folded(f"For whom? {words.for_whom(breakdowns)}", answers)
    return


@app.cell
def _(experiment, metric, population, results):
    people = people_behind(experiment, population, metric, 3)
    of_metric = results[results.metric_key == metric].iloc[0]
    people = people.assign(aggregation=of_metric.aggregation, unit=of_metric.unit)
    return (people,)


@app.cell
def _(metric_name, people, population, scope):
    written = [one[:2] for one in reported_people()]
    some = show.joined(
        show.table(
            people.assign(
                link=show.identity_links(people, written),
                did=[words.did(row) for row in people.itertuples()],
                then=[words.later(row) for row in people.itertuples()],
            ),
            f"{show.capital(metric_name)}: three of each variation among {words.people(population)}, those with an outcome first, {scope}",
            {
                "variation": "Variation",
                "link": "Identity",
                "first_exposed_at": "In the experiment since (UTC)",
                "did": "What they did",
                "then": "Given another variation later",
            },
            otherwise="Nobody is assigned.",
            is_full=True,
            saved=(
                "variation",
                "identity",
                "first_exposed_at",
                "outcome_sum",
                "outcome_count",
                "other_variation",
            ),
        ),
        show.paragraph("All of them: fct_experiment_assignments and fct_experiment_outcomes.", "faint"),
    )
    show.folded(
        "The people behind the numbers: three of each variation, and what each was given and did", some
    )
    return


@app.cell
def _(experiment, results):
    mo.stop(results.empty)
    overlap = ask(
        """
        select
            other_experiment_key,
            others.name as other_name,
            overlap.metric_key,
            metrics.name as metric_name,
            metrics.aggregation,
            metrics.unit,
            overlap.status,
            identities,
            independence_status,
            p_value_independence,
            interaction,
            interaction_low,
            interaction_high,
            p_value_interaction,
            mine.alpha
        from marts.fct_experiment_overlap as overlap
        inner join marts.dim_experiments as mine on overlap.experiment_key = mine.experiment_key
        inner join marts.dim_experiments as others on overlap.other_experiment_key = others.experiment_key
        left join marts.dim_metrics as metrics on overlap.metric_key = metrics.metric_key
        where overlap.experiment_key = $experiment
        order by identities desc, other_experiment_key
        """,
        experiment=experiment,
    )
    return (overlap,)


@app.cell
def _(overlap):
    show.folded(
        f"Other experiments at the same time: {words.others(overlap)}",
        show.table(
            overlap.assign(
                other=[
                    show.link_if_live(
                        words.called(row.other_experiment_key, row.other_name),
                        "experiment_readout",
                        experiment=row.other_experiment_key,
                    )
                    for row in overlap.itertuples()
                ],
                said=[words.side_by_side(row) for row in overlap.itertuples()],
                metric=[
                    words.called(row.metric_key, row.metric_name) if isinstance(row.metric_key, str) else ""
                    for row in overlap.itertuples()
                ],
                difference=[words.interaction(row) for row in overlap.itertuples()],
            ),
            "Experiments that run side by side",
            {
                "other": "Other experiment",
                "identities": "Identities in both",
                "p_value_independence": "p of independence",
                "metric": "Primary metric",
                "difference": "Difference in its effect where the other is on",
                "p_value_interaction": "p of this difference",
                "said": "What it means",
            },
            {
                "p_value_independence": show.p_value,
                "p_value_interaction": show.p_value,
            },
            otherwise="No other experiment runs in this environment.",
            is_full=True,
            saved=SAVED_OVERLAP,
        ),
    )
    return


@app.cell
def _(declared, power, scope):
    known = power.dropna(subset=["minimum_detectable_lift"])
    found_power = show.table(
        known.assign(
            label=list(map(words.called, known.metric_key, known.metric_name)),
            stop_on=[words.stop_day(declared, days) for days in known.days_left],
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
        otherwise="There is too little data yet to say when you can stop.",
    )
    show.folded("When you can stop, and what can be found today", found_power)
    return


if __name__ == "__main__":
    app.run()
