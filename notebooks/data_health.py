import marimo

__generated_with = "0.25.2"

app = marimo.App(width="medium", app_title="Data health", css_file="style.css")

with app.setup:
    import marimo as mo

    from flagsmith_warehouse.loader import settings
    from flagsmith_warehouse.loader.operations import status
    from flagsmith_warehouse.notebooks import charts, show, words
    from flagsmith_warehouse.notebooks.warehouse import ask, source

    EVERYWHERE = ""  # the name of no environment


@app.cell
def _():
    read = source("fct_deliveries_hourly", "quarantined_deliveries", "dim_identities", "fct_canary_calls")
    show.masthead(
        "data_health",
        "What arrived, how fresh it is, how much of it was repeated, and what could not be read. Source: "
        f"{read.path.name}.",
    )
    return (read,)


@app.cell
def _(read):
    mo.stop(read.problem is not None, mo.md(read.problem or ""))
    freshness = ask("""
        with hours as (
            select
                environment,
                sum(deliveries)::bigint as deliveries,
                (sum(deliveries) filter (where kind = 'quarantined'))::bigint as quarantined,
                sum(bytes) / 1e6 as megabytes,
                max(hour) as last_hour,
                max(max_landing_delay_seconds) filter (hour >= last_day) as last_delay_seconds
            from (
                select *, date_trunc('day', max(hour) over (partition by environment)) as last_day
                from marts.fct_deliveries_hourly
            )
            group by environment
        ),
        identities as (
            select environment, count(*) as identities, max(last_seen_at) as last_evaluation_at
            from marts.dim_identities
            group by environment
        )
        select
            hours.environment,
            hours.deliveries,
            coalesce(hours.quarantined, 0) as quarantined,
            hours.megabytes,
            coalesce(identities.identities, 0) as identities,
            hours.last_hour,
            identities.last_evaluation_at,
            hours.last_delay_seconds
        from hours
        left join identities on hours.environment = identities.environment
        order by hours.deliveries desc, hours.environment
    """)
    mo.stop(
        freshness.empty,
        show.note("No webhook has arrived yet. Send webhooks, then refresh."),
    )
    return (freshness,)


@app.cell
def _(freshness):
    show.table(
        freshness,
        "How fresh each environment is",
        {
            "environment": "Environment",
            "deliveries": "Deliveries",
            "quarantined": "Unreadable",
            "megabytes": "Megabytes",
            "identities": "Identities",
            "last_hour": "Last hour with a delivery (UTC)",
            "last_evaluation_at": "Last evaluation (UTC)",
            "last_delay_seconds": "Longest delay until stored, last day",
        },
        {"last_delay_seconds": show.seconds},
    )
    return


@app.cell
def _(freshness):
    files = settings.read()
    refresh = status.last_refresh(files) or {}
    sizes = {
        "Warehouse": files.warehouse_file,
        "Published copy": files.published_file,
    }
    last = (
        {
            "Last refresh": show.badge(refresh["result"]),
            "It took": show.seconds(refresh.get("seconds")),
            "It stored": "not recorded"
            if refresh.get("landed") is None
            else words.quantity(refresh["landed"], "delivery"),
        }
        if refresh
        else {"Last refresh": "not recorded"}
    )
    cost = last | {
        **{name: show.megabytes(file.stat().st_size) for name, file in sizes.items() if file.exists()},
        "Received so far": show.megabytes(1e6 * freshness.megabytes.sum()),
    }
    show.card("What it costs", show.facts(cost), level=2)
    return (cost,)


@app.cell
def _(freshness):
    choices = show.choices(["all environments", *freshness.environment], [EVERYWHERE, *freshness.environment])
    environment_picker = show.picker("environment", choices, "Environment")
    show.choice(environment_picker)
    return (environment_picker,)


@app.cell
def _(environment_picker):
    environment = environment_picker.value
    return (environment,)


@app.cell
def _(environment):
    ends = ask(
        """
        select min(hour)::date as first, max(hour)::date as last
        from marts.fct_deliveries_hourly
        where environment = $environment or $environment = $everywhere
        """,
        environment=environment,
        everywhere=EVERYWHERE,
    ).iloc[0]
    period_picker = show.period_picker(ends["first"].date(), ends["last"].date())
    period_picker
    return (period_picker,)


@app.cell
def _(period_picker):
    start, end = period_picker.value
    return end, start


@app.cell
def _(end, environment, start):
    scope = show.Scope(environment or "all environments", start, end)
    asked = {"environment": environment, "everywhere": EVERYWHERE, "start": scope.start, "end": scope.end}
    # Up to three days by the hour, longer ones by the day.
    unit = "hour" if (scope.end - scope.start).days < 3 else "day"
    traffic = ask(
        f"""
        with hours as (
            select *, sum(deliveries) over (partition by environment, hour) as deliveries_of_the_hour
            from marts.fct_deliveries_hourly
            where
                (environment = $environment or $environment = $everywhere)
                and hour >= $start
                and hour < $end + interval 1 day
        )
        select
            date_trunc('{unit}', hour)::timestamp as {unit},
            environment,
            kind,
            sum(deliveries)::bigint as deliveries,
            sum(distinct_payloads)::bigint as states,
            sum(test_deliveries)::bigint as test_deliveries,
            sum(bytes)::bigint as bytes,
            -- Of all kinds together, which the server had to take at the same time.
            max(deliveries_of_the_hour)::double / 60 as busiest_per_minute,
            max(max_landing_delay_seconds) as max_landing_delay_seconds
        from hours
        group by all
        order by {unit}, environment, kind
        """,  # one of two words
        **asked,
    )
    traffic["said"] = traffic.kind.replace(words.DELIVERIES)
    return asked, scope, traffic, unit


@app.cell
def _(scope, traffic, unit):
    deliveries_chart = charts.by_time(
        traffic,
        "deliveries",
        "environment",
        title=f"Deliveries per {unit}, by environment",
        heading=f"deliveries per {unit}",
        scope=scope,
        time=unit,
    )
    deliveries_chart
    return


@app.cell
def _(scope, traffic, unit):
    kinds_chart = charts.by_time(
        traffic,
        "deliveries",
        "said",
        title=f"Deliveries per {unit}, by kind",
        heading=f"deliveries per {unit}",
        scope=scope,
        time=unit,
        order=[said for said in words.DELIVERIES.values() if said in set(traffic.said)],
    )
    kinds_chart
    return


@app.cell
def _(scope, traffic, unit):
    minutes_chart = charts.lines(
        traffic.groupby([unit, "environment"], as_index=False)["busiest_per_minute"].max(),
        "busiest_per_minute",
        "environment",
        title="Deliveries per minute in the busiest hour",
        heading="deliveries per minute (average of the hour)",
        scope=scope,
        time=unit,
    )
    minutes_chart
    return


@app.cell
def _(traffic, unit):
    evaluations = traffic[traffic.kind == "evaluation"]
    repeated = evaluations.groupby(unit, as_index=False)[["deliveries", "states"]].sum()
    states = repeated.melt(unit, ["deliveries", "states"], "what", "webhooks")
    states["what"] = states["what"].map(
        {"deliveries": "all evaluations", "states": "different ones within each hour"}
    )
    return repeated, states


@app.cell
def _(scope, states, unit):
    states_chart = charts.lines(
        states,
        "webhooks",
        "what",
        title="Evaluations, and how many of each hour were different",
        heading=f"evaluations per {unit}",
        scope=scope,
        time=unit,
        order=("all evaluations", "different ones within each hour"),
    )
    states_chart
    return


@app.cell
def _(scope, traffic, unit):
    delay_chart = charts.lines(
        traffic.groupby([unit, "environment"], as_index=False)["max_landing_delay_seconds"].max(),
        "max_landing_delay_seconds",
        "environment",
        title="Longest delay until a delivery was stored (the refresh that stored it then counted it)",
        heading="from receipt until stored",
        scope=scope,
        time=unit,
        write=show.seconds,
    )
    delay_chart
    return


@app.cell
def _(scope, traffic):
    kinds = traffic.groupby("said", as_index=False).agg(
        {"deliveries": "sum", "bytes": "sum", "max_landing_delay_seconds": "max"}
    )
    show.table(
        kinds.assign(megabytes=kinds.bytes / 1e6),
        f"By kind, {scope}",
        {
            "said": "Kind",
            "deliveries": "Deliveries",
            "megabytes": "Megabytes",
            "max_landing_delay_seconds": "Longest delay until stored",
        },
        {"max_landing_delay_seconds": show.seconds},
        otherwise="Nothing arrived in this period.",
    )
    return (kinds,)


@app.cell
def _(asked, scope):
    canaries = ask(
        """
        select
            environment,
            count(*) as arrived,
            sum(lost_before)::bigint as lost,
            median(delivery_seconds) as usual_seconds,
            max(delivery_seconds) as longest_seconds,
            max(received_at) as last_at
        from marts.fct_canary_calls
        where
            (environment = $environment or $environment = $everywhere)
            and received_at >= $start
            and received_at < $end + interval 1 day
        group by environment
        order by environment
        """,
        **asked,
    )
    show.table(
        canaries,
        f"Loss and delay between Flagsmith and here, measured by test calls (the canary), {scope}",
        {
            "environment": "Environment",
            "arrived": "Test calls that arrived",
            "lost": "Lost",
            "usual_seconds": "Usual delay",
            "longest_seconds": "Longest delay",
            "last_at": "Last (UTC)",
        },
        {"usual_seconds": show.seconds, "longest_seconds": show.seconds},
        otherwise="No test calls arrived, so losses on the way from Flagsmith cannot be seen. docs/operations.md explains the canary.",
    )
    return (canaries,)


@app.cell
def _(asked):
    quarantine = ask(
        """
        select
            environment,
            reason,
            count(*) as deliveries,
            min(received_at) as first_at,
            max(received_at) as last_at,
            min(body_excerpt) as for_example
        from marts.quarantined_deliveries
        where
            (environment = $environment or $environment = $everywhere)
            and received_at >= $start
            and received_at < $end + interval 1 day
        group by environment, reason
        order by deliveries desc, environment, reason
        """,
        **asked,
    )
    return (quarantine,)


@app.cell
def _(quarantine, scope):
    show.table(
        quarantine,
        f"What could not be read, {scope}",
        {
            "environment": "Environment",
            "reason": "Reason",
            "deliveries": "Deliveries",
            "first_at": "First (UTC)",
            "last_at": "Last (UTC)",
            "for_example": "One of them begins",
        },
        {"reason": words.label},
        otherwise="Everything that arrived could be read.",
    )
    return


if __name__ == "__main__":
    app.run()
