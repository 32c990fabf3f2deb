{#- Select: what one identity did, one row per metric and day: occurred_at (the first time), metric_key, outcome_sum, outcome_count,
    counted_by (the experiments that count all of it) and partly_counted_by (those that count a part). It is the function
    `marts.outcomes_of(of_environment, of_identity)`.
    Each experiment counts the events of one stretch of time. What it counts on a day is left out where another experiment's
    stretch contains it. Stretches that only overlap have a row each: the mart does not say what they share.
    marts: {name: relation}, of those that are built. -#}
{% macro outcomes_of_identity(marts) %}
    {{ return("
    with days as (
        -- What came before a change of the weights and what came after it are one stretch.
        select
            outcomes.metric_key,
            outcomes.experiment_key,
            outcomes.day,
            sum(outcomes.outcome_sum) as outcome_sum,
            sum(outcomes.outcome_count)::bigint as outcome_count,
            min(outcomes.first_occurred_at) as first_occurred_at,
            max(outcomes.last_occurred_at) as last_occurred_at
        from " ~ marts.fct_experiment_outcomes ~ " as outcomes
        inner join " ~ marts.dim_experiments ~ " as experiments on outcomes.experiment_key = experiments.experiment_key
        -- A day with events of the denominator only has no outcome.
        where experiments.environment = of_environment and outcomes.identity = of_identity and outcomes.outcome_count > 0
        group by outcomes.metric_key, outcomes.experiment_key, outcomes.day
    ),
    longest as (
        select
            days.experiment_key,
            days.outcome_count as own_count,
            containing.experiment_key as longest_key,
            containing.* exclude (experiment_key)
        from days
        inner join days as containing
            on
                containing.metric_key = days.metric_key
                and containing.day = days.day
                and containing.first_occurred_at <= days.first_occurred_at
                and containing.last_occurred_at >= days.last_occurred_at
        qualify row_number() over (
            partition by days.metric_key, days.day, days.experiment_key
            order by
                containing.first_occurred_at, containing.last_occurred_at desc, containing.outcome_count desc,
                containing.outcome_sum desc, containing.experiment_key
        ) = 1
    )
    select
        longest.first_occurred_at as occurred_at,
        longest.metric_key,
        longest.outcome_sum,
        longest.outcome_count,
        list(longest.experiment_key order by longest.experiment_key) filter (longest.own_count = longest.outcome_count) as counted_by,
        list(longest.experiment_key order by longest.experiment_key) filter (longest.own_count < longest.outcome_count)
            as partly_counted_by
    from longest
    group by longest.first_occurred_at, longest.metric_key, longest.outcome_sum, longest.outcome_count, longest.longest_key
    order by longest.first_occurred_at, longest.metric_key") }}
{% endmacro %}
