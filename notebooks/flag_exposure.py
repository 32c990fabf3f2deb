import marimo

__generated_with = "0.25.2"

app = marimo.App(width="medium", app_title="Flag exposure", css_file="style.css")

with app.setup:
    import marimo as mo

    from flagsmith_warehouse.notebooks import charts, show, words
    from flagsmith_warehouse.notebooks.warehouse import (
        NO_STALE_FLAG,
        ask,
        reported_flags,
        source,
        stale_flags,
    )

    CHANGES = """
        select received_at as at, event_type, changed_by, identity, segment_id, old_enabled, new_enabled, old_value,
            new_value, old_weights, new_weights, description
        from marts.fct_flag_changes
        where environment = $environment and feature_id = $feature_id"""


@app.cell
def _():
    read = source(
        *("dim_flags", "fct_flag_exposures", "fct_flag_exposures_daily"),
        *("fct_flag_assignments", "fct_explained_assignments", "fct_flag_changes", "dim_experiments"),
    )
    show.masthead(
        "flag_exposure",
        "Who was given which variation of a flag, since when, and why it changed. An exposure is an evaluation by "
        f"Flagsmith: the webhooks do not say whether a person saw it. Source: {read.path.name}.",
    )
    return (read,)


@app.cell
def _(read):
    mo.stop(read.problem is not None, mo.md(read.problem or ""))
    environments = ask("""
        select environment, count(*) as flags, max(last_seen_at) as last_seen_at
        from marts.dim_flags
        group by environment
        order by max(identities) desc, environment
    """)
    mo.stop(
        environments.empty,
        show.note("No flag was evaluated yet. Send webhooks, then refresh."),
    )
    stale_everywhere = stale_flags()
    reported = reported_flags(stale_everywhere)
    return environments, reported, stale_everywhere


@app.cell
def _(reported):
    # A report has no picker.
    mo.stop(reported.empty)
    show.folded(
        f"Which flags this report has a page of: {words.quantity(len(reported), 'flag')}",
        show.joined(
            show.paragraph(
                "Those of its experiments, and those to clean up. "
                "The live pages (flagsmith-warehouse notebook) have every flag."
            ),
            show.sentences(
                show.joined(link, f" ({show.shortened(environment)})")
                for link, environment in zip(
                    show.flag_links(reported, reported), reported.environment, strict=True
                )
            ),
        ),
    )
    return


@app.cell
def _(environments):
    choices = show.choices(environments.environment, environments.environment)
    environment_picker = show.picker("environment", choices, "Environment")
    show.choice(environment_picker)
    return (environment_picker,)


@app.cell
def _(environment_picker):
    environment = environment_picker.value
    return (environment,)


@app.cell
def _(environment):
    flags = ask(
        """
        select feature_id, name, type, current_default, len(variations) as variation_count, identities, is_stale,
            first_seen_at, last_seen_at
        from marts.dim_flags
        where environment = $environment
        order by is_stale, len(variations) desc, feature_id
        """,
        environment=environment,
    )
    alike = flags.name.duplicated(keep=False)
    names = flags.name.where(~alike, flags.name + " #" + flags.feature_id.astype(str))
    flag_choices = show.choices(names, flags.feature_id.tolist(), 80)
    flag_picker = show.picker("feature_id", flag_choices, "Flag", searchable=True)
    show.choice(flag_picker)
    return flag_picker, flags


@app.cell
def _(flag_picker):
    feature_id = flag_picker.value
    return (feature_id,)


@app.cell
def _(environment, feature_id):
    days = ask(
        """
        select min(day) as first, max(day) as last
        from marts.fct_flag_exposures_daily
        where environment = $environment and feature_id = $feature_id
        """,
        environment=environment,
        feature_id=feature_id,
    ).iloc[0]
    period_picker = show.period_picker(days["first"].date(), days["last"].date())
    period_picker
    return (period_picker,)


@app.cell
def _(period_picker):
    start, end = period_picker.value
    return end, start


@app.cell
def _(feature_id, flags):
    flag = flags[flags.feature_id == feature_id].iloc[0]
    flag_name = show.shortened(flag["name"], 60)
    origins = words.ORIGINS | (words.SPLIT if flag["type"] == "MULTIVARIATE" else {})
    show.Html(show.heading(flag["name"]))
    return flag, flag_name, origins


@app.cell
def _(environment, feature_id, flag, flag_name, stale):
    # A flag that can go has the evidence first. It is the same whatever the period.
    mo.stop(not flag.is_stale)
    own = stale.set_index("feature_id").loc[feature_id]
    others = ask(
        """
        select variation, count(distinct identity) as identities, max(last_exposed_at) as last_exposed_at
        from marts.fct_flag_exposures
        where environment = $environment and feature_id = $feature_id and variation <> $everybody_gets
        group by variation
        order by last_exposed_at desc, variation
        """,
        environment=environment,
        feature_id=feature_id,
        everybody_gets=own.everybody_gets,
    )
    changed = ask(
        f"{CHANGES} order by received_at desc, delivery_id desc limit 1",
        environment=environment,
        feature_id=feature_id,
    )
    show.card(
        f"{flag_name} can go: recently everybody got {show.shortened(own.everybody_gets)}",
        show.sentences(words.evidence(own, flag, others, changed)),
        kind="card decision",
        level=3,
    )
    return


@app.cell
def _(end, environment, feature_id, start):
    scope = show.Scope(environment, start, end)
    asked = {"environment": environment, "feature_id": feature_id, "start": scope.start, "end": scope.end}
    return asked, scope


@app.cell
def _(asked):
    totals = ask(
        """
        with given as (
            select
                variation,
                count(distinct identity) as identities_ever,
                min(first_exposed_at) as first_exposed_at,
                max(last_exposed_at) as last_exposed_at
            from marts.fct_flag_exposures
            where environment = $environment and feature_id = $feature_id
            group by variation
        ),
        evaluations as (
            select variation, sum(evaluations)::bigint as evaluations
            from marts.fct_flag_exposures_daily
            where environment = $environment and feature_id = $feature_id and day between $start and $end
            group by variation
        )
        select
            evaluations.*,
            evaluations.evaluations / sum(evaluations.evaluations) over () as share,
            given.* exclude (variation)
        from evaluations
        inner join given on evaluations.variation = given.variation
        order by evaluations.evaluations desc, evaluations.variation
        """,
        **asked,
    )
    daily = ask(
        """
        select day, variation, assignment_reason, identities, new_identities, evaluations
        from marts.fct_flag_exposures_daily
        where environment = $environment and feature_id = $feature_id and day between $start and $end
        order by day, variation, assignment_reason
        """,
        **asked,
    )
    variations = show.in_order(daily.variation)
    return daily, totals, variations


@app.cell
def _(scope, totals):
    show.table(
        totals,
        f"What was given, {scope}",
        {
            "variation": "Variation",
            "evaluations": "Evaluations in the period",
            "share": "Share of them",
            "identities_ever": "Identities ever",
            "first_exposed_at": "First ever (UTC)",
            "last_exposed_at": "Last ever (UTC)",
        },
        {"share": show.percent},
        otherwise="The flag was not evaluated in this period.",
    )
    return


@app.cell
def _(asked):
    changes = ask(
        f"""
        {CHANGES}
            and received_at >= $start
            and received_at < $end + interval 1 day
        order by received_at, delivery_id
        """,
        **asked,
    )
    changes["text"] = [words.flag_change(row) for row in changes.itertuples()]
    return (changes,)


@app.cell
def _(changes, daily, flag_name, scope, variations):
    evaluations_chart = charts.by_time(
        daily,
        "evaluations",
        "variation",
        title=f"Evaluations of {flag_name} per day, by variation",
        heading="evaluations a day",
        scope=scope,
        order=variations,
        events=changes,
    )
    evaluations_chart
    return


@app.cell
def _(changes, scope):
    show.table(
        changes,
        f"Changes in Flagsmith, {scope}",
        {"at": "When (UTC)", "text": "What"},
        otherwise="None was announced. Flagsmith announces changes with its environment webhook, if you set it up (README.md).",
    )
    return


@app.cell
def _(changes, daily, flag_name, scope, variations):
    share_chart = charts.by_time(
        daily,
        "identities",
        "variation",
        title=f"Share of identities per variation of {flag_name}",
        heading="share of the day's identities (%)",
        scope=scope,
        order=variations,
        as_shares=True,
        events=changes,
    )
    share_chart
    return


@app.cell
def _(daily, flag_name, scope, variations):
    first_chart = charts.by_time(
        daily,
        "new_identities",
        "variation",
        title=f"First exposures to {flag_name} per day, by variation",
        heading="identities exposed for the first time",
        scope=scope,
        order=variations,
    )
    first_chart
    return


@app.cell
def _(daily, flag_name, origins, scope, variations):
    reasons = daily.groupby(["assignment_reason", "variation"], as_index=False)["evaluations"].sum()
    reasons["assignment_reason"] = reasons.assignment_reason.replace(origins)
    reasons_chart = charts.bars(
        reasons,
        "evaluations",
        "assignment_reason",
        "variation",
        title=f"Where the value of {flag_name} came from",
        heading="evaluations",
        scope=scope,
        order=variations,
    )
    reasons_chart
    return (reasons,)


@app.cell
def _(asked):
    flows = ask(
        """
        with spells as (
            select
                identity,
                valid_from,
                variation,
                change_reason,
                lag(variation) over (partition by identity order by valid_from) as before
            from marts.fct_flag_assignments
            where environment = $environment and feature_id = $feature_id
        )
        select
            spells.before || ' → ' || spells.variation as switch,
            spells.change_reason,
            coalesce(explained.changed_by, 'not announced') as changed_by,
            count(*) as switches,
            count(distinct spells.identity) as identities,
            min(spells.valid_from) as first_at,
            max(spells.valid_from) as last_at
        from spells
        left join marts.fct_explained_assignments as explained
            on
                explained.environment = $environment
                and explained.feature_id = $feature_id
                and spells.identity = explained.identity
                and spells.valid_from = explained.valid_from
        where
            spells.before <> spells.variation
            and spells.valid_from >= $start
            and spells.valid_from < $end + interval 1 day
        group by all
        order by switches desc, switch, change_reason, changed_by
        """,
        **asked,
    )
    flows["change_reason"] = flows.change_reason.replace(words.CHANGES)
    return (flows,)


@app.cell
def _(flag_name, flows, scope):
    flows_chart = charts.bars(
        flows,
        "switches",
        "switch",
        "change_reason",
        title=f"Who was switched from one variation of {flag_name} to another, and why",
        heading="switches",
        scope=scope,
        most=15,
    )
    flows_chart
    return


@app.cell
def _(flows, scope):
    show.table(
        flows.head(30),
        f"Switches, {scope}" + ("" if len(flows) <= 30 else f" (the 30 most frequent of {len(flows):,})"),
        {
            "switch": "From → to",
            "change_reason": "Why",
            "changed_by": "Changed by",
            "switches": "Switches",
            "identities": "Identities",
            "first_at": "First (UTC)",
            "last_at": "Last (UTC)",
        },
        otherwise="Nobody was given another variation of this flag in this period.",
    )
    return


@app.cell
def _(environment, feature_id):
    # The last three identities that were given each variation. They lead from a number to the people behind it.
    people = ask(
        """
        select identity, variation, assignment_reason, change_reason, valid_from
        from marts.fct_flag_assignments
        where environment = $environment and feature_id = $feature_id and is_current
        qualify row_number() over (partition by variation order by valid_from desc, identity) <= 3
        order by variation, valid_from desc, identity
        """,
        environment=environment,
        feature_id=feature_id,
    )
    return (people,)


@app.cell
def _(environment, flag_name, origins, people):
    show.table(
        people.assign(
            assignment_reason=people.assignment_reason.replace(origins),
            change_reason=people.change_reason.replace(words.CHANGES),
            link=show.identity_links(people.assign(environment=environment)),
        ),
        f"Who has {flag_name} now: the three latest of each variation",
        {
            "variation": "Variation",
            "link": "Identity",
            "valid_from": "Since (UTC)",
            "assignment_reason": "It comes from",
            "change_reason": "Why",
        },
        saved=("variation", "identity", "valid_from", "assignment_reason", "change_reason"),
    )
    return


@app.cell
def _(environment, reported, stale_everywhere):
    stale = stale_everywhere[stale_everywhere.environment == environment].sort_values(
        ["since", "name"], ignore_index=True
    )
    show.table(
        stale.assign(flag=show.flag_links(stale, reported)),
        f"Flags to clean up in {show.shortened(environment)}: recently everybody got the same value",
        {
            "flag": "Flag",
            "type": "Type",
            "everybody_gets": "Everybody gets",
            "since": "Since (UTC)",
            "identities": "Identities ever",
        },
        otherwise=NO_STALE_FLAG,
        is_full=True,
        saved=("name", "type", "everybody_gets", "since", "identities"),
    )
    return (stale,)


if __name__ == "__main__":
    app.run()
