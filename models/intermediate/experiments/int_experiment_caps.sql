{{ config(materialized='table_in_place') }}

with identities as (

    -- Those who count by now, for each metric that is winsorised.
    select
        metrics.metric_number,
        metrics.aggregation,
        metrics.winsorise_percentile,
        identities.identity_number
    from {{ ref('int_experiment_metrics') }} as metrics
    inner join {{ ref('int_experiment_assignments') }} as identities on metrics.experiment_key = identities.experiment_key
    where
        metrics.winsorise_percentile is not null
        and identities.first_exposed_at <= metrics.last_matured_at

),

sizes as (

    select metric_number, count(*) as identities
    from identities
    group by metric_number

),

totals as (

    select
        identities.metric_number,
        identities.winsorise_percentile,
        {{ identity_value('identities.aggregation', 'sum(outcomes.outcome_sum)', 'sum(outcomes.outcome_count)') }} as outcome
    from {{ ref('int_experiment_outcomes') }} as outcomes
    inner join identities
        on outcomes.metric_number = identities.metric_number and outcomes.identity_number = identities.identity_number
    group by
        identities.metric_number, identities.winsorise_percentile, identities.aggregation, outcomes.identity_number

),

ranked as (

    -- Ranked from the highest down, because identities without an outcome (they count as 0) have no row in totals.
    select
        totals.metric_number,
        totals.outcome,
        sizes.identities - ceil(totals.winsorise_percentile * sizes.identities) + 1 as wanted_rank,
        row_number() over (partition by totals.metric_number order by totals.outcome desc) as descending_rank
    from totals
    inner join sizes on totals.metric_number = sizes.metric_number

)

select
    metrics.metric_number,
    greatest(coalesce(max(ranked.outcome), 0e0), 0e0) as cap
from {{ ref('int_experiment_metrics') }} as metrics
left join ranked on metrics.metric_number = ranked.metric_number and ranked.descending_rank = ranked.wanted_rank
where metrics.winsorise_percentile is not null
group by metrics.metric_number
