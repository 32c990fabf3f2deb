import marimo

__generated_with = "0.25.2"

app = marimo.App(width="medium", app_title="One identity", css_file="style.css")

with app.setup:
    import marimo as mo

    from flagsmith_warehouse.notebooks import charts, show, words
    from flagsmith_warehouse.notebooks.pages import is_live
    from flagsmith_warehouse.notebooks.warehouse import ask, reported_flags, source

    # Each outcome once, whatever number of experiments count it.
    OUTCOMES = """
        outcomes as (
            select counted.occurred_at as since, 'outcome' as kind, coalesce(metrics.name, counted.metric_key) as name,
                metrics.aggregation, metrics.unit, counted.outcome_sum, counted.outcome_count, counted.occurred_at as until,
                string_agg(coalesce(experiments.name, experiments.experiment_key), ', ' order by experiments.experiment_key)
                    filter (list_contains(counted.counted_by, experiments.experiment_key)) as counts_for,
                string_agg(coalesce(experiments.name, experiments.experiment_key), ', ' order by experiments.experiment_key)
                    filter (list_contains(counted.partly_counted_by, experiments.experiment_key)) as counts_partly_for
            from marts.outcomes_of($environment, $identity) as counted
            inner join marts.dim_experiments as experiments
                on list_contains(list_concat(counted.counted_by, counted.partly_counted_by), experiments.experiment_key)
            left join marts.dim_metrics as metrics on counted.metric_key = metrics.metric_key
            group by all
        )"""
    KINDS = {
        "experiment": "Experiments",
        "outcome": "Outcomes",
        "flag": "Flags",
        "segment": "Segments",
        "trait": "Traits",
    }


@app.cell
def _():
    read = source(
        *("dim_identities", "fct_flag_assignments", "fct_explained_assignments", "fct_segment_memberships"),
        *("fct_identity_traits", "fct_experiment_assignments", "fct_experiment_outcomes", "dim_experiments"),
        *("dim_metrics", "outcomes_of", "dim_flags", "fct_flag_exposures"),
    )
    show.masthead(
        "one_identity",
        "Everything that one identity was given and did, when and why: flags, segments, traits, experiments and "
        f"outcomes on one time axis. Source: {read.path.name}.",
    )
    return (read,)


@app.cell
def _(read):
    mo.stop(read.problem is not None, mo.md(read.problem or ""))
    environments = ask("""
        select environment, count(*) as identities
        from marts.dim_identities
        group by environment
        order by identities desc, environment
    """)
    mo.stop(
        environments.empty,
        show.note("Nobody was evaluated yet. Send webhooks, then refresh."),
    )
    return (environments,)


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
def _():
    identity_picker = show.text_picker("identity", "Identity")
    identity_picker if is_live() else None
    return (identity_picker,)


@app.cell
def _():
    reported: list = []  # the people whose pages a report has; `report` names them
    return (reported,)


@app.cell
def _(read, reported):
    mo.stop(is_live() or read.problem is not None)
    show.folded(
        f"Whose page this report has: {words.quantity(len(reported), 'identity')}",
        show.joined(
            show.paragraph(
                "A report cannot hold everybody. It has one identity of each variation of an experiment, and those that are "
                "named when it is made: flagsmith-warehouse report --identity ann. "
                "The live pages (flagsmith-warehouse notebook) find everybody."
            ),
            show.sentences(
                show.joined(
                    show.link(one.identity, "one_identity", **one.picks),
                    f" ({show.shortened(one.known_for, 120)})",
                )
                for one in reported
            ),
        ),
        is_open=True,
    )
    return


@app.cell
def _(identity_picker):
    identity = identity_picker.value
    return (identity,)


@app.cell
def _(environment, identity):
    # The chosen identity, wherever it was seen; without a choice, the identity of the environment with the most changes of flags.
    person = ask(
        """
        with changes as (
            select environment, identity, count(*) as changes
            from marts.fct_explained_assignments
            where case when $identity = '' then environment = $environment else identity = $identity end
            group by environment, identity
        )
        select identities.*, list(identities.environment) over () as environments
        from marts.dim_identities as identities
        left join changes using (environment, identity)
        where case when $identity = '' then environment = $environment else identity = $identity end
        order by environment = $environment desc, coalesce(changes, 0) desc, identity, environment
        limit 1
        """,
        environment=environment,
        identity=identity,
    )
    alike = ask(
        """
        select environment, identity, evaluation_count, last_seen_at
        from marts.dim_identities
        where contains(lower(identity), lower($identity))
        order by last_seen_at desc, identity, environment
        limit 20
        """,
        identity=identity,
    )
    alike["link"] = [
        show.link(row.identity, "one_identity", environment=row.environment, identity=row.identity)
        for row in alike.itertuples()
    ]
    mo.stop(
        person.empty,
        show.joined(
            show.note(f"No identity is called {show.shortened(identity, 80)} in any environment."),
            show.table(
                alike,
                "Identities whose name contains this text",
                {
                    "link": "Identity",
                    "environment": "Environment",
                    "evaluation_count": "Evaluations",
                    "last_seen_at": "Last seen (UTC)",
                },
                otherwise="No identity's name contains it.",
                saved=("identity", "environment", "evaluation_count", "last_seen_at"),
            ),
        ),
    )
    who = person.iloc[0]
    return (who,)


@app.cell
def _(environment, identity, who):
    others = sorted(set(who.environments) - {who.environment}) if identity else []
    how_found = " ".join(
        filter(
            None,
            (
                ""
                if identity
                else "Nobody was chosen, so this is the identity whose flags changed most often.",
                ""
                if who.environment == environment
                else f"This identity was not seen in {show.shortened(environment)}, but in {show.shortened(who.environment)}.",
                f"Also seen in {', '.join(map(show.shortened, others))}{': choose the environment above' if is_live() else ''}."
                if others
                else "",
            ),
        )
    )
    return (how_found,)


@app.cell
def _(who):
    found = ask(
        f"""
        with named as (select $environment as environment, $identity as identity),
        flags as (
            select
                spells.valid_from as since,
                'flag' as kind, spells.feature_name as name, spells.feature_id,
                lag(spells.variation) over (partition by spells.feature_id order by spells.valid_from) as before,
                spells.variation as after,
                spells.change_reason,
                spells.assignment_reason,
                spells.is_multivariate and spells.enabled as is_split,
                spells.percentage_allocation,
                explained.changed_by,
                spells.valid_to as until
            from marts.fct_flag_assignments as spells
            inner join named using (environment, identity)
            left join marts.fct_explained_assignments as explained using (environment, identity, feature_id, valid_from)
        ),
        traits as (
            select
                valid_from as since,
                'trait' as kind, trait_key as name,
                lag(value_text) over (partition by trait_key order by valid_from) as before,
                value_text as after,
                case when is_transient then 'sent for one evaluation' else 'set in Flagsmith' end as why,
                valid_to as until
            from marts.fct_identity_traits
            inner join named using (environment, identity)
        ),
        segments as (
            select entered_at as since, 'segment' as kind, segment_name as name, null as before, 'member' as after,
                'matched the segment''s rule' as why, left_at as until
            from marts.fct_segment_memberships
            inner join named using (environment, identity)
        ),
        experiments as (
            select assigned.first_exposed_at as since, 'experiment' as kind, coalesce(experiments.name, assigned.experiment_key) as name,
                null as before, assigned.variation as after, 'assigned' as why, assigned.quarantine_reason, null::timestamp as until
            from marts.fct_experiment_assignments as assigned
            inner join marts.dim_experiments as experiments on assigned.experiment_key = experiments.experiment_key
            inner join named on experiments.environment = named.environment and assigned.identity = named.identity
        ),
        {OUTCOMES}
        select * from flags
        union all by name
        select * from traits
        union all by name
        select * from segments
        union all by name
        select * from experiments
        union all by name
        select * from outcomes
        order by since, kind, name
        """,
        environment=who.environment,
        identity=who.identity,
    )
    return (found,)


@app.cell
def _(found, who):
    happened = found.assign(
        why=[words.why(row) for row in found.itertuples()],
        after=[words.outcome(row) if row.kind == "outcome" else row.after for row in found.itertuples()],
    )
    # An outcome may come after the last evaluation.
    last_at = max([who.last_seen_at, *happened.since])
    scope = show.Scope(who.environment, who.first_seen_at.date(), last_at.date())
    return happened, scope


@app.cell
def _(happened, how_found, who):
    current = happened[happened.until.isna()]
    changed = happened[(happened.kind == "flag") & happened.before.notna()]
    show.card(
        show.shortened(who.identity, 120),
        show.paragraph(how_found) if how_found else None,
        show.paragraph(
            f"In {show.shortened(who.environment)}, seen {words.from_to(who.first_seen_at, who.last_seen_at)}, "
            f"evaluated {words.quantity(who.evaluation_count, 'time')}. {words.counted(len(changed), 'flag change')}"
            + (". The last ten:" if len(changed) > 10 else ":" if len(changed) else ".")
        ),
        show.sentences(
            f"{show.shortened(row.name_, 60)} went from {show.shortened(row.before)} to {show.shortened(row.after)} "
            f"on {show.moment(row.since)}: {show.shortened(row.why, 120)}."
            for row in changed.rename(columns={"name": "name_"})[-10:].itertuples()
        ),
        show.facts(
            {
                title: show.number(int((current.kind == kind).sum()))
                for kind, title in KINDS.items()
                if kind != "outcome"
            }
            | {
                "Days with an outcome": show.number(
                    happened.since[happened.kind == "outcome"].dt.date.nunique()
                )
            }
        ),
        kind="card decision",
        level=2,
    )
    return


@app.cell
def _(happened, who):
    flags = happened[(happened.kind == "flag") & happened.until.isna()].sort_values(
        ["since", "name"], ascending=[False, True]
    )
    known = flags.assign(environment=who.environment, feature_id=flags.feature_id.astype(int))
    show.table(
        flags.assign(link=show.flag_links(known, reported_flags())),
        f"What {show.shortened(who.identity, 60)} has now, and why",
        {"link": "Flag", "after": "Variation", "since": "Since (UTC)", "why": "Why"},
        otherwise="No webhook carried a flag of this identity.",
        is_full=True,
        saved=("name", "after", "since", "why"),
    )
    return (flags,)


@app.cell
def _(happened, scope):
    # Where there is no room for all rows, those that changed come first, then those that hold now.
    spells = happened.assign(
        row=happened.kind + " " + happened.name, place=happened.kind.map(list(KINDS).index)
    )
    spells = spells.sort_values(["place", "name", "since"], kind="stable")
    rows = spells.groupby("row", sort=False).agg(
        kind=("kind", "first"), spells=("since", "size"), until=("until", "last")
    )
    rows["rank"] = (rows.spells == 1).astype(int) + ((rows.spells == 1) & rows.until.notna())
    # Experiments and outcomes are few, and what the rest is read for.
    rows.loc[rows.kind.isin(["experiment", "outcome"]), "rank"] = 0
    drawn_rows = rows.sort_values("rank", kind="stable").index[: charts.SPELL_ROWS]
    left_out = rows[~rows.index.isin(drawn_rows)].kind.value_counts(sort=False)
    timeline_chart = charts.spells(
        spells[spells.row.isin(drawn_rows)],
        "row",
        "after",
        title="What held, from when to when",
        scope=scope,
    )
    show.joined(
        timeline_chart,
        show.paragraph(
            f"The picture has room for {charts.SPELL_ROWS} rows. Left out: "
            f"{', '.join(words.quantity(count, kind) for kind, count in left_out.items())}. The list below has them.",
            "faint",
        )
        if len(left_out)
        else None,
    )
    return drawn_rows, left_out


@app.cell
def _(happened, scope):
    everything = show.table(
        happened,
        f"Everything that happened, oldest first, {scope}",
        {
            "since": "From (UTC)",
            "until": "Until (UTC)",
            "kind": "Kind",
            "name": "Name",
            "before": "Before",
            "after": "After",
            "why": "Why",
        },
        {"until": lambda moment: "now" if moment != moment else show.short_moment(moment)},
    )
    show.folded(f"All of it, oldest first ({words.counted(len(happened), 'row').lower()})", everything)
    return


if __name__ == "__main__":
    app.run()
