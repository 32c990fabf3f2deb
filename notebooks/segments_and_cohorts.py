import marimo

__generated_with = "0.25.2"

app = marimo.App(width="medium", app_title="Segments and cohorts", css_file="style.css")

with app.setup:
    from datetime import timedelta

    import marimo as mo
    import pandas

    from flagsmith_warehouse.notebooks import charts, show
    from flagsmith_warehouse.notebooks.warehouse import ask, source


@app.cell
def _():
    read = source(
        *("fct_segment_sizes_daily", "fct_segment_memberships", "dim_cohorts", "fct_cohort_memberships"),
        *(
            "fct_cohort_sizes_daily",
            "fct_cohort_retention",
            "fct_cohort_flag_exposures",
            "fct_segment_rule_drift",
        ),
    )
    show.masthead(
        "segments_and_cohorts",
        "A segment is a rule in Flagsmith; a cohort is your own rule. How both grew, who came back, and what they were given. Source: "
        f"{read.path.name}.",
    )
    return (read,)


@app.cell
def _(read):
    mo.stop(read.problem is not None, mo.md(read.problem or ""))
    environments = ask("""
        select environment, max(day) as last_day
        from (
            select environment, day from marts.fct_segment_sizes_daily
            union all
            select environment, day from marts.fct_cohort_sizes_daily
        )
        group by environment
        order by count(*) desc, environment
    """)
    mo.stop(
        environments.empty,
        show.note(
            "Nobody was in a segment or a cohort yet: the marts have no rows. Send webhooks, then refresh."
        ),
    )
    return (environments,)


@app.cell
def _(environments):
    environment_choices = show.choices(environments.environment, environments.environment)
    environment_picker = show.picker("environment", environment_choices, "Environment")
    show.choice(environment_picker)
    return (environment_picker,)


@app.cell
def _(environment_picker):
    environment = environment_picker.value
    return (environment,)


@app.cell
def _(environment):
    sizes = ask(
        """
        select 'segment' as kind, segment_id::varchar as key, segment_name as name, day, members, entered, "left"
        from marts.fct_segment_sizes_daily
        where environment = $environment
        union all
        select 'cohort', sizes.cohort_key, cohorts.name, sizes.day, sizes.members, sizes.entered, sizes."left"
        from marts.fct_cohort_sizes_daily as sizes
        inner join marts.dim_cohorts as cohorts on sizes.cohort_key = cohorts.cohort_key
        where sizes.environment = $environment
        order by kind, key, day
        """,
        environment=environment,
    )
    latest = (
        sizes.groupby(["kind", "key"], as_index=False)
        .last()
        .sort_values(["kind", "members", "key"], ascending=[True, False, True], ignore_index=True)
    )
    lately = sizes[sizes.day > sizes.day.max() - timedelta(days=7)]
    week = lately.groupby(["kind", "key"], as_index=False)[["entered", "left"]].sum()
    latest = latest.drop(columns=["entered", "left"]).merge(week, how="left", on=["kind", "key"])
    spelled = latest["kind"] + " " + latest["name"]
    spelled = spelled.where(~spelled.duplicated(keep=False), spelled + " (" + latest["key"] + ")")
    choices = show.choices(spelled, zip(latest["kind"], latest["key"], strict=True), 68)
    first, second = (list(choices) * 2)[:2]
    has_cohorts = bool((latest["kind"] == "cohort").any())
    return choices, first, has_cohorts, latest, second, sizes


@app.cell
def _(environment, latest, sizes):
    everything = show.Scope(environment, sizes.day.min().date(), sizes.day.max().date())
    show.table(
        latest,
        f"All segments and cohorts, {show.shortened(environment)}, at the end of {show.day(everything.end)}",
        {
            "name": "Name",
            "kind": "Kind",
            "members": "Members",
            "entered": "Entered in 7 days",
            "left": "Left in 7 days",
        },
    )
    return (everything,)


@app.cell
def _(choices, first, second):
    first_picker = show.picker("first", choices, "Look at", searchable=True, default=first)
    second_picker = show.picker("second", choices, "and compare with", searchable=True, default=second)
    show.choice(first_picker, second_picker)
    return first_picker, second_picker


@app.cell
def _(first_picker, second_picker):
    chosen = [first_picker.value, second_picker.value]
    return (chosen,)


@app.cell
def _(everything):
    period_picker = show.period_picker(everything.start, everything.end)
    period_picker
    return (period_picker,)


@app.cell
def _(period_picker):
    start, end = period_picker.value
    return end, start


@app.cell
def _(choices, chosen, end, environment, sizes, start):
    scope = show.Scope(environment, start, end)
    names = {key: label for label, key in choices.items()}
    (kind, key), label = chosen[0], names[chosen[0]]
    shown = sizes[(sizes.day.dt.date >= scope.start) & (sizes.day.dt.date <= scope.end)]
    shown = shown.assign(
        segment_or_cohort=[names[one] for one in zip(shown["kind"], shown["key"], strict=True)]
    )
    compared = shown[shown.segment_or_cohort.isin([names[one] for one in chosen])]
    flow = compared[compared.segment_or_cohort == label].melt(
        "day", ["entered", "left"], "movement", "identities"
    )
    return compared, flow, key, kind, label, names, scope


@app.cell
def _(chosen, compared, names, scope):
    sizes_chart = charts.lines(
        compared,
        "members",
        "segment_or_cohort",
        title="Members at the end of each day",
        heading="identities",
        scope=scope,
        order=dict.fromkeys(names[one] for one in chosen),
    )
    sizes_chart
    return


@app.cell
def _(flow, label, scope):
    flow_chart = charts.lines(
        flow,
        "identities",
        "movement",
        title=f"Who entered and who left {label}, day by day",
        heading="identities a day",
        scope=scope,
        order=("entered", "left"),
    )
    flow_chart
    return


@app.cell
def _(chosen, environment, names):
    overlap = ask(
        """
        with memberships as (
            select 'segment' as kind, segment_id::varchar as key, identity
            from marts.fct_segment_memberships
            where environment = $environment and is_current
            union all
            select 'cohort', cohort_key, identity
            from marts.fct_cohort_memberships
            where environment = $environment and is_current
        ),
        members as (
            select
                identity,
                bool_or(kind = $kind_1 and key = $key_1) as in_first,
                bool_or(kind = $kind_2 and key = $key_2) as in_second
            from memberships
            group by identity
        ),
        placed as (
            select case when in_first and in_second then 'in both' when in_first then $name_1 else $name_2 end as who
            from members
            where in_first or in_second
        )
        select who, count(*) as identities
        from placed
        group by who
        order by who = 'in both' desc, who
        """,
        environment=environment,
        kind_1=chosen[0][0],
        key_1=chosen[0][1],
        name_1=f"only {names[chosen[0]]}",
        kind_2=chosen[1][0],
        key_2=chosen[1][1],
        name_2=f"only {names[chosen[1]]}",
    )
    return (overlap,)


@app.cell
def _(environment, everything, overlap):
    overlap_chart = charts.bars(
        overlap,
        "identities",
        "who",
        title="Who is in both now, and who in only one",
        heading="identities now",
        scope=show.Scope(environment, everything.end, everything.end),
    )
    overlap_chart
    return


@app.cell
def _(environment, latest):
    largest = latest.sort_values("members", ascending=False, kind="stable")[:8]
    # Identities are counted once for each combination of the eight, and the combinations are added up: one pass over them.
    together = ask(
        """
        with memberships as (
            select 'segment:' || segment_id::varchar as key, identity
            from marts.fct_segment_memberships
            where environment = $environment and is_current
            union all
            select 'cohort:' || cohort_key, identity
            from marts.fct_cohort_memberships
            where environment = $environment and is_current
        ),
        combinations as (
            select identity, bit_or((1 << (list_position($keys, key) - 1))::utinyint) as combination
            from memberships
            where list_contains($keys, key)
            group by identity
        )
        select combination, count(*) as identities from combinations group by combination
        """,
        environment=environment,
        keys=list(largest["kind"] + ":" + largest["key"]),
    )
    return largest, together


@app.cell
def _(environment, everything, largest, names, together):
    called = show.labels([names[key] for key in zip(largest["kind"], largest["key"], strict=True)], 48)
    is_in = {name: together.combination & (1 << place) > 0 for place, name in enumerate(called.values())}
    counted = [
        (
            one,
            other,
            together.identities[is_in[one] & is_in[other]].sum(),
            together.identities[is_in[one]].sum(),
        )
        for one in is_in
        for other in is_in
    ]
    shares = pandas.DataFrame(counted, columns=["member_of", "also_in", "identities", "members"])
    shares = shares[shares.members > 0].assign(share=shares.identities / shares.members)
    matrix = charts.heat(
        shares,
        "share",
        "also_in",
        "member_of",
        title="How many members of each row are also in the column (the eight largest)",
        headings=("members of", "the share of them who are also in this segment or cohort"),
        scope=show.Scope(environment, everything.end, everything.end),
        write=show.percent,
        otherwise="0 %",
    )
    matrix
    return (shares,)


@app.cell
def _(environment, key, kind):
    retention = ask(
        """
        select start_period, period_number, identities, active_identities, retention, not is_complete as is_open
        from marts.fct_cohort_retention
        where
            environment = $environment
            and cohort_key = $key
            and counted_from = 'first_seen'
            and period = 'week'
        order by start_period, period_number
        """,
        environment=environment,
        key=key if kind == "cohort" else "",
    )
    given = ask(
        """
        select feature_name, variation, identities, share
        from marts.fct_cohort_flag_exposures
        where environment = $environment and cohort_key = $key
        qualify count(*) over (partition by feature_id) > 1
        order by feature_name, identities desc, variation
        """,
        environment=environment,
        key=key if kind == "cohort" else "",
    )
    return given, retention


@app.cell
def _(everything, has_cohorts, kind, label, retention):
    weeks = retention.start_period.drop_duplicates()[-26:]
    latest_weeks = retention[retention.start_period.isin(weeks)]
    cells = latest_weeks.assign(
        start=[
            f"{one.day} {one:%b %Y} ({count:,})"
            for one, count in zip(latest_weeks.start_period, latest_weeks.identities, strict=True)
        ]
    )
    retention_chart = (
        charts.heat(
            cells,
            "retention",
            "period_number",
            "start",
            title=f"How many of {label} came back, by the week of their first evaluation"
            + ("" if retention.start_period.nunique() <= 26 else " (the last 26 weeks)"),
            headings=(
                "week of first evaluation (identities)",
                "weeks later (the week of a framed cell is not over, so its number may still grow)",
            ),
            scope=everything,
            write=show.percent,
            incomplete="is_open",
        )
        if kind == "cohort"
        else show.note(
            "Retention is computed for cohorts, your own rules on traits. "
            + ("Choose one above." if has_cohorts else "None is declared: docs/cohorts.md says how.")
        )
    )
    retention_chart
    return


@app.cell
def _(given, has_cohorts, kind, label):
    show.table(
        given,
        f"What {label} was given while members: flags that gave members different values",
        {"feature_name": "Flag", "variation": "Variation", "identities": "Identities", "share": "Share"},
        {"share": show.percent},
        otherwise="Every flag gave all of its members the same value."
        if kind == "cohort"
        else "This is computed for cohorts: "
        + ("choose one above." if has_cohorts else "none is declared (docs/cohorts.md)."),
    )
    return


@app.cell
def _(environment):
    drift = ask(
        """
        select
            cohorts.name,
            drift.segment_name,
            drift.deliveries,
            drift.agreement,
            drift.stated_only,
            drift.by_rule_only,
            drift.disagreeing_identities,
            coalesce(drift.example_stated_only, drift.example_by_rule_only) as example,
            drift.last_disagreement_at
        from marts.fct_segment_rule_drift as drift
        inner join marts.dim_cohorts as cohorts on drift.cohort_key = cohorts.cohort_key
        where drift.environment = $environment
        order by drift.agreement, cohorts.name
        """,
        environment=environment,
    )
    show.table(
        drift,
        f"Cohorts compared with the Flagsmith segments they mirror, {show.shortened(environment)}",
        {
            "name": "Cohort",
            "segment_name": "Segment",
            "deliveries": "Deliveries compared",
            "agreement": "Agree",
            "stated_only": "Member only for Flagsmith",
            "by_rule_only": "Member only by your rule",
            "disagreeing_identities": "Identities concerned",
            "example": "One of them",
            "last_disagreement_at": "Last time (UTC)",
        },
        {
            "agreement": show.percent,
            "example": lambda name: (
                show.link_if_live(name, "one_identity", environment=environment, identity=name)
                if isinstance(name, str)
                else show.NOTHING
            ),
        },
        otherwise="No cohort mirrors a segment of this environment.",
    )
    return (drift,)


if __name__ == "__main__":
    app.run()
