import marimo

__generated_with = "0.25.2"

app = marimo.App(width="medium", app_title="Overview", css_file="style.css")

with app.setup:
    import marimo as mo

    from flagsmith_warehouse.loader import settings
    from flagsmith_warehouse.loader.operations import status
    from flagsmith_warehouse.notebooks import show, words
    from flagsmith_warehouse.notebooks.pages import PAGES
    from flagsmith_warehouse.notebooks.warehouse import (
        DECIDING,
        NO_STALE_FLAG,
        REPORTED,
        ask,
        reported_flags,
        reported_people,
        source,
        stale_flags,
    )

    LISTED = REPORTED  # experiments and environments; the other pages have the rest


@app.cell
def _():
    read = source(
        *("dim_experiments", "dim_flags", "dim_identities", "dim_metrics"),
        "experiment_declaration_problems",
        *(
            "cohort_declaration_problems",
            "fct_canary_calls",
            "fct_deliveries_hourly",
            "fct_experiment_health",
            "fct_flag_exposures",
        ),
        *("fct_experiment_results", "fct_segment_sizes_daily", "quarantined_deliveries"),
        *("fct_experiment_assignments", "fct_experiment_outcomes"),
    )
    show.masthead(
        "index",
        "What Flagsmith's webhooks say: who got which variation, and what difference it made. "
        f"All times are UTC. Source: {read.path.name}.",
    )
    return (read,)


@app.cell
def _(read):
    mo.stop(read.problem is not None, mo.md(read.problem or ""))
    environments = ask("""
        with arrived as (
            select
                environment,
                sum(deliveries)::bigint as deliveries,
                max(last_received_at) as last_received_at,
                max(last_landed_at) as last_landed_at
            from marts.fct_deliveries_hourly
            group by environment
        ),
        identities as (select environment, count(*) as identities from marts.dim_identities group by environment),
        flags as (
            select environment, count(*) as flags, count(*) filter (is_stale) as stale_flags
            from marts.dim_flags
            group by environment
        ),
        segments as (
            select environment, count(distinct segment_id) as segments from marts.fct_segment_sizes_daily group by environment
        ),
        quarantined as (
            select environment, count(*) as quarantined from marts.quarantined_deliveries group by environment
        ),
        canaries as (
            select environment, sum(lost_before)::bigint as lost_calls from marts.fct_canary_calls group by environment
        )
        select
            arrived.*,
            coalesce(identities, 0) as identities,
            coalesce(flags, 0) as flags,
            coalesce(stale_flags, 0) as stale_flags,
            coalesce(segments, 0) as segments,
            coalesce(quarantined, 0) as quarantined,
            coalesce(lost_calls, 0) as lost_calls
        from arrived
        left join identities on arrived.environment = identities.environment
        left join flags on arrived.environment = flags.environment
        left join segments on arrived.environment = segments.environment
        left join quarantined on arrived.environment = quarantined.environment
        left join canaries on arrived.environment = canaries.environment
        order by arrived.deliveries desc, arrived.environment
    """)
    return (environments,)


@app.cell
def _(read):
    mo.stop(read.problem is not None)
    experiments = ask(
        f"""
        with checks as (
            select
                experiment_key,
                count(*) filter (status = 'alarm') as alarms,
                count(*) filter (status = 'warn') as warnings
            from marts.fct_experiment_health
            group by experiment_key
        )
        select
            experiments.* replace ({status.STATUS_NOW} as status),
            coalesce(alarms, 0) as alarms,
            coalesce(warnings, 0) as warnings
        from marts.dim_experiments as experiments
        left join checks on experiments.experiment_key = checks.experiment_key
        order by experiments.status = 'running' desc, experiments.started_at desc, experiments.experiment_key
        """,
        now=status.wall_clock(),
    )
    declared_problems = ask("""
        select severity, declared_in, row_number, column_name, problem, remedy from marts.experiment_declaration_problems
        union all
        select severity, declared_in, row_number, column_name, problem, remedy from marts.cohort_declaration_problems
        order by severity, declared_in, row_number
    """)
    alarms = ask("""
        select health.experiment_key, experiments.name as experiment_name, health.message
        from marts.fct_experiment_health as health
        left join marts.dim_experiments as experiments on health.experiment_key = experiments.experiment_key
        where health.status = 'alarm' and health.spoils_results
        order by health.experiment_key, health.check_name
    """)
    return alarms, declared_problems, experiments


@app.cell
def _(environments):
    # Alerts of the last refresh that depend on the clock or on tests. Declarations and experiments are read from the marts.
    refresh = status.last_refresh(settings.read()) or {}
    failed = refresh.get("result") in ("failure", "killed", "unknown") and len(environments) > 0
    alerts = [
        one
        for one in refresh.get("alerts", [])
        if one["check"] != "declarations" and not one["check"].startswith("experiment_")
    ]
    return alerts, failed, refresh


@app.cell
def _(alarms, declared_problems, failed, refresh):
    # Everything that needs attention, the worst first. Each item says where to look.
    broken = [show.joined(show.badge("alarm"), f" {words.failed_refresh(refresh)}") for _ in range(failed)]
    broken += [
        show.joined(
            *(
                show.badge("alarm"),
                " ",
                show.link(
                    words.called(row.experiment_key, row.experiment_name),
                    "experiment_readout",
                    experiment=row.experiment_key,
                ),
            ),
            f": {show.shortened(row.message, 200)}",
        )
        for row in alarms.itertuples()
    ]
    broken += [
        show.joined(
            *(
                show.badge(row.severity),
                f" {row.declared_in}{words.cell(row.row_number, row.column_name)}: ",
            ),
            f"{show.shortened(row.problem, 200)} Remedy: {show.shortened(row.remedy, 200)}",
        )
        for row in declared_problems.itertuples()
    ]
    return (broken,)


@app.cell
def _(alerts, broken, environments):
    attention = broken + [
        show.joined(
            show.badge(str(one["severity"])),
            f" {show.shortened(one['environment'])}: " if one["environment"] else " ",
            f"{show.shortened(str(one['message']), 200)}. Remedy: {show.shortened(str(one['remedy']), 200)}.",
        )
        for one in alerts
    ]
    attention += [
        show.joined(
            *(
                show.badge("warn"),
                f" {words.counted(count, word)} {said} ",
                show.shortened(row.environment),
                ": ",
            ),
            show.link("data health", "data_health", environment=row.environment),
        )
        for row in environments.itertuples()
        for count, word, said in (
            (row.lost_calls, "test call", "lost on the way from"),
            (row.quarantined, "unreadable delivery", "in"),
        )
        if count
    ]
    return (attention,)


@app.cell
def _(attention, environments, experiments):
    running = int((experiments.status == "running").sum())
    newest = environments.last_received_at.max()
    talker = "" if environments.empty else environments.environment[environments.last_received_at.idxmax()]
    silent = [
        f"{show.shortened(row.environment)} has been {said}."
        for row in environments.itertuples()
        if (said := words.silence(row.last_received_at, newest))
    ]
    delay = (environments.last_landed_at.max() - newest).total_seconds() if len(environments) else 0
    fresh = (
        "No webhook has arrived yet. Send webhooks, then refresh."
        if environments.empty
        else f"The last webhook came on {show.moment(newest)}, from {show.shortened(talker)}, and was stored {show.seconds(delay)} later. "
        f"{words.counted(running, 'experiment')} {'is' if running == 1 else 'are'} running."
    )
    show.card(
        "Needs attention"
        if attention
        else "Nothing has arrived yet"
        if environments.empty
        else "Nothing needs attention",
        show.sentences(attention[:LISTED]),
        show.paragraph(f"And {len(attention) - LISTED} more." if len(attention) > LISTED else ""),
        show.paragraph(fresh),
        show.paragraph(" ".join(silent[:LISTED])) if silent else None,
        level=2,
    )
    return


@app.cell
def _(experiments):
    shown = experiments[:LISTED]
    primary = ask(
        f"""
        select
            results.experiment_key,
            results.metric_key,
            results.variation,
            results.population,
            results.role,
            results.verdict,
            results.decision_method,
            results.flagsmith_chance_to_win,
            metrics.name as metric_name,
            {DECIDING}
        from marts.fct_experiment_results as results
        left join marts.dim_metrics as metrics on results.metric_key = metrics.metric_key
        where
            results.role = 'primary'
            and results.is_primary_population
            -- Where there is too little data, the verdict of control says so, too.
            and (results.experiment_key, results.variation) not in (
                select (experiment_key, control_variation) from marts.dim_experiments
            )
        order by results.experiment_key, results.metric_key, results.variation
        """
    )
    primary["label"] = list(map(words.called, primary.metric_key, primary.metric_name))
    return primary, shown


@app.cell
def _(environments, experiments, primary, shown):
    newest_at = environments.last_received_at.max()

    def experiment_card(row: tuple) -> show.Html:
        own = primary[primary.experiment_key == row.experiment_key]
        is_spoilt = own.verdict.eq("do_not_trust").any() or own.empty
        badges = [show.badge(row.status)]
        if is_spoilt:
            badges.append(show.badge("do_not_trust" if row.alarms else "collecting_data"))
        said = [] if is_spoilt else words.verdicts(own)
        noticed = [
            words.counted(n, word) for n, word in ((row.alarms, "alarm"), (row.warnings, "warning")) if n
        ]
        silent = words.nothing_newer(row, newest_at)
        return show.card(
            show.link(
                words.called(row.experiment_key, row.name),
                "experiment_readout",
                experiment=row.experiment_key,
            ),
            show.joined(
                *badges,
                *(
                    show.badge(
                        one.verdict, f"{show.shortened(one.variation, 24)} {show.BADGES[one.verdict][1]}"
                    )
                    for one in own[:4].itertuples()
                    if not is_spoilt
                ),
                by=" ",
            ),
            show.sentences(said[:4] or [row.problem or "No result yet."]),
            show.paragraph(silent) if silent else None,
            show.paragraph(
                f"Flag {show.shortened(row.feature_name, 120)} in {show.shortened(row.environment)}, since {show.day(row.started_at)}. "
                f"{', '.join(noticed) or 'No warnings'}.",
                "faint",
            ),
        )

    experiment_cards = [experiment_card(row) for row in shown.itertuples()]
    show.joined(
        show.Html("<h2>Experiments</h2>"),
        show.cards(experiment_cards)
        if experiment_cards
        else show.note("No experiment is declared: add one to experiments.csv (docs/experiments.md)."),
        show.paragraph(f"And {len(experiments) - LISTED} more: see Experiments.")
        if len(experiments) > LISTED
        else None,
    )
    return


@app.cell
def _(environments):
    listed = environments[:LISTED]

    def environment_card(row: tuple) -> show.Html:
        name = row.environment
        return show.card(
            show.shortened(name),
            show.facts(
                {
                    "Last webhook": show.moment(row.last_received_at),
                    "Deliveries": show.link(show.number(row.deliveries), "data_health", environment=name),
                    "Unreadable deliveries": show.number(row.quarantined),
                    "Identities": show.link(show.number(row.identities), "one_identity", environment=name),
                    "Flags": show.link(show.number(row.flags), "flag_exposure", environment=name),
                    "Flags to clean up": show.number(row.stale_flags),
                    "Segments": show.link(
                        show.number(row.segments), "segments_and_cohorts", environment=name
                    ),
                }
            ),
        )

    show.joined(
        show.Html("<h2>Environments</h2>"),
        show.cards(map(environment_card, listed.itertuples()))
        if len(listed)
        else show.note("No webhook has arrived yet."),
    )
    return (listed,)


@app.cell
def _(read):
    mo.stop(read.problem is not None)
    stale = stale_flags()
    reported = reported_flags(stale)
    return reported, stale


@app.cell
def _(environments, reported, stale):
    mo.stop(environments.empty)
    show.table(
        stale.assign(flag=show.flag_links(stale, reported)),
        "Flags to clean up: recently everybody got the same value",
        {
            "flag": "Flag",
            "environment": "Environment",
            "type": "Type",
            "everybody_gets": "Everybody gets",
            "since": "Since (UTC)",
            "identities": "Identities ever",
        },
        otherwise=NO_STALE_FLAG,
        is_full=True,
        saved=("name", "environment", "type", "everybody_gets", "since", "identities"),
    )
    return


@app.cell
def _():
    show.joined(
        show.Html("<h2>Where to look</h2>"),
        show.cards(
            show.card(
                show.link(page.title, name),
                show.paragraph(page.purpose),
                show.paragraph(f"For {page.readers}.", "faint"),
            )
            for name, page in PAGES.items()
            if name != "index"
        ),
    )
    return


@app.cell
def _(read):
    mo.stop(read.problem is not None)
    people = reported_people()
    return (people,)


@app.cell
def _(listed, people, reported, shown):
    # The pages that a report writes too, because this page or another one links to them.
    linked = [("experiment_readout", {"experiment": key}) for key in shown.experiment_key]
    linked += [
        (name, {"environment": environment})
        for environment in listed.environment
        for name in ("flag_exposure", "segments_and_cohorts", "one_identity", "data_health")
    ]
    linked += [
        ("flag_exposure", {"environment": environment, "feature_id": feature_id})
        for environment, feature_id in zip(reported.environment, reported.feature_id.tolist(), strict=True)
    ]
    linked += [("one_identity", one.picks) for one in people]
    return (linked,)


if __name__ == "__main__":
    app.run()
