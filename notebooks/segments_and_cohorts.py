import marimo

__generated_with = "0.25.2"

app = marimo.App(width="medium", app_title="Segments and cohorts", css_file="style.css")

with app.setup:
    from datetime import timedelta

    import marimo as mo
    import pandas

    from flagsmith_warehouse.notebooks import charts, show, words
    from flagsmith_warehouse.notebooks.warehouse import ask, reported_flags, source

    # Every membership of the environment's segments and cohorts.
    SPELLS = """
        spells as (
            select 'segment' as kind, segment_id::varchar as key, identity, entered_at, left_at, is_current
            from marts.fct_segment_memberships
            where environment = $environment
            union all
            select 'cohort', cohort_key, identity, entered_at, left_at, is_current
            from marts.fct_cohort_memberships
            where environment = $environment
        )"""
    # Those of the chosen one, and those of all others.
    OWN_AND_OTHERS = f"""{SPELLS},
        own as (select * from spells where kind = $kind and key = $key),
        others as (select * from spells where kind <> $kind or key <> $key)"""
    CAME = {
        "was_in": "were in it at that moment",
        "had_left": "had left it in the 7 days before",
        "none": "in no other",
    }
    WENT = {"stayed_in": "stayed in it", "then_entered": "entered it within 7 days", "none": "in no other"}
    OF_THE_OTHERS = 12  # the most other segments and cohorts in a chart of where people come from or go


@app.cell
def _():
    read = source(
        *("fct_segment_sizes_daily", "fct_segment_memberships", "dim_cohorts", "fct_cohort_memberships"),
        *(
            "fct_cohort_sizes_daily",
            "fct_cohort_retention",
            "fct_cohort_flag_exposures",
            "fct_segment_rule_drift.example_stated_only_at",
        ),
        *("dim_identities", "fct_identity_traits", "dim_experiments", "dim_flags", "fct_flag_exposures"),
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
        show.note("Nobody was in a segment or a cohort yet. Send webhooks, then refresh."),
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
def _(environment, key, kind, scope):
    asked = {"environment": environment, "kind": kind, "key": key, "start": scope.start, "end": scope.end}
    # Each entry counts once for each other segment or cohort. Those of identities never seen before come from nowhere.
    came = ask(
        f"""
        with {OWN_AND_OTHERS},
        entries as (
            select own.identity, own.entered_at as at, own.entered_at <= known.first_seen_at as is_new
            from own
            inner join marts.dim_identities as known
                on known.environment = $environment and own.identity = known.identity
            where own.entered_at >= $start and own.entered_at < $end + interval 1 day
        ),
        placed as (
            select entries.identity, entries.at, entries.is_new, others.kind, others.key,
                coalesce(bool_or(others.left_at is null or others.left_at > entries.at), false) as is_there
            from entries
            left join others
                on
                    entries.identity = others.identity
                    and others.entered_at < entries.at
                    and (others.left_at is null or others.left_at > entries.at - interval 7 days)
            group by all
        )
        select kind, key, case when is_new then 'new' when key is null then 'none' when is_there then 'was_in' else 'had_left' end
            as how, count(*) as people
        from placed
        group by all
        order by people desc, kind, key
        """,
        **asked,
    )
    went = ask(
        f"""
        with {OWN_AND_OTHERS},
        exits as (
            select identity, left_at as at from own where left_at >= $start and left_at < $end + interval 1 day
        ),
        placed as (
            select exits.identity, exits.at, others.kind, others.key,
                coalesce(bool_or(others.entered_at < exits.at), false) as is_there
            from exits
            left join others
                on
                    exits.identity = others.identity
                    and others.entered_at < exits.at + interval 7 days
                    and (others.left_at is null or others.left_at > exits.at)
            group by all
        )
        select kind, key, case when key is null then 'none' when is_there then 'stayed_in' else 'then_entered' end as how,
            count(*) as people
        from placed
        group by all
        order by people desc, kind, key
        """,
        **asked,
    )
    return asked, came, went


@app.cell
def _(came, flow, label, names, scope, went):
    def funnel(placed: pandas.DataFrame, hows: dict[str, str], title: str) -> show.Html:
        places = [
            "none of the others" if row.how == "none" else names.get((row.kind, row.key), row.key)
            for row in placed.itertuples()
        ]
        drawn = placed.assign(place=places, how=placed.how.map(hows))
        return charts.bars(
            drawn,
            "people",
            "place",
            "how",
            title=title,
            heading="times",
            scope=scope,
            order=[one for one in hows.values() if one in set(drawn.how)],
            most=OF_THE_OTHERS,
        )

    movements = flow.groupby("movement").identities.sum() if len(flow) else {}
    entries, exits = (int(movements.get(one, 0)) for one in ("entered", "left"))
    is_new = came.how == "new"
    came_chart = funnel(came[~is_new], CAME, f"Where those who entered {label} came from")
    went_chart = funnel(went, WENT, f"Where those who left {label} went")
    show.joined(
        came_chart,
        show.paragraph(words.came(entries, int(came.people[is_new].sum())), "faint"),
        went_chart,
        show.paragraph(words.went(exits), "faint"),
    )
    return came_chart, went_chart


@app.cell
def _(asked):
    # The last to enter and to leave lead from a number to the people behind it.
    moved = ask(
        f"""
        with {OWN_AND_OTHERS},
        movements as (
            select identity, 'entered' as movement, entered_at as moved_at from own
            union all
            select identity, 'left', left_at from own where left_at is not null
        )
        select movement, identity, moved_at
        from movements
        where moved_at >= $start and moved_at < $end + interval 1 day
        qualify row_number() over (partition by movement order by moved_at desc, identity) <= 5
        order by movement, moved_at desc, identity
        """,
        **asked,
    )
    return (moved,)


@app.cell
def _(environment, label, moved, scope):
    show.table(
        moved.assign(link=show.identity_links(moved.assign(environment=environment))),
        f"Who entered and left {label}: the five latest of each, {scope}",
        {"movement": "Movement", "link": "Identity", "moved_at": "When (UTC)"},
        otherwise="Nobody entered or left in this period.",
        saved=("movement", "identity", "moved_at"),
    )
    return


@app.cell
def _(chosen, environment, names):
    overlap = ask(
        f"""
        with {SPELLS},
        members as (
            select
                identity,
                bool_or(kind = $kind_1 and key = $key_1) as in_first,
                bool_or(kind = $kind_2 and key = $key_2) as in_second
            from spells
            where is_current
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
        f"""
        with {SPELLS},
        combinations as (
            select identity, bit_or((1 << (list_position($keys, kind || ':' || key) - 1))::utinyint) as combination
            from spells
            where is_current and list_contains($keys, kind || ':' || key)
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
        select feature_id, feature_name, variation, identities, share
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
def _(environment, given, has_cohorts, kind, label):
    flags = given.rename(columns={"feature_name": "name"}).assign(environment=environment)
    show.table(
        given.assign(link=show.flag_links(flags, reported_flags())),
        f"What {label} was given while members: flags that gave members different values",
        {"link": "Flag", "variation": "Variation", "identities": "Identities", "share": "Share"},
        {"share": show.percent},
        otherwise="Every flag gave all of its members the same value."
        if kind == "cohort"
        else "This is computed for cohorts: "
        + ("choose one above." if has_cohorts else "none is declared (docs/cohorts.md)."),
        saved=("feature_name", "variation", "identities", "share"),
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
            drift.last_disagreement_at
        from marts.fct_segment_rule_drift as drift
        inner join marts.dim_cohorts as cohorts on drift.cohort_key = cohorts.cohort_key
        where drift.environment = $environment
        order by drift.agreement, cohorts.name
        """,
        environment=environment,
    )
    # Of each disagreement one example, with the identity's traits at that moment.
    examples = ask(
        """
        with examples as (
            select cohort_key, segment_name, agreement, true as is_stated, example_stated_only as identity, example_stated_only_at as at
            from marts.fct_segment_rule_drift
            where environment = $environment and example_stated_only is not null
            union all
            select cohort_key, segment_name, agreement, false, example_by_rule_only, example_by_rule_only_at
            from marts.fct_segment_rule_drift
            where environment = $environment and example_by_rule_only is not null
        )
        select cohorts.name, cohorts.rule_text, examples.segment_name, examples.is_stated, examples.identity, examples.at,
            coalesce(list([traits.trait_key, traits.value_text] order by traits.trait_key)
                filter (traits.trait_key is not null), []) as traits
        from examples
        inner join marts.dim_cohorts as cohorts on examples.cohort_key = cohorts.cohort_key
        left join marts.fct_identity_traits as traits
            on
                traits.environment = $environment
                and traits.identity = examples.identity
                and not traits.is_transient
                and traits.valid_from <= examples.at
                and (traits.valid_to > examples.at or traits.valid_to is null)
        group by all
        order by min(examples.agreement), cohorts.name, examples.segment_name, examples.is_stated desc
        limit 10
        """,
        environment=environment,
    )
    return drift, examples


@app.cell
def _(drift, environment, examples):
    compared_table = show.table(
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
            "last_disagreement_at": "Last time (UTC)",
        },
        {"agreement": show.percent},
        otherwise="No cohort mirrors a segment of this environment.",
    )
    links = show.identity_links(examples.assign(environment=environment))
    explained = [
        show.joined(link, f": {words.disagreement(row)}")
        for row, link in zip(examples.itertuples(), links, strict=True)
    ]
    show.joined(
        compared_table,
        *(
            [show.Html("<p><b>Why they disagree, by example:</b></p>"), show.sentences(explained)]
            if explained
            else []
        ),
    )
    return


if __name__ == "__main__":
    app.run()
