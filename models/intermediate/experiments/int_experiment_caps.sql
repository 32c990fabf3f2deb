{{ config(materialized='table_in_place') }}

with identities as (

    select * from {{ ref('int_experiment_identities') }}

),

sizes as (

    select experiment_key, count(*) as identities
    from identities
    group by experiment_key

),

totals as (

    select
        metrics.metric_number,
        metrics.experiment_key,
        metrics.winsorise_percentile,
        {{ identity_value('metrics.aggregation', 'sum(outcomes.outcome_sum)', 'sum(outcomes.outcome_count)') }} as outcome
    from {{ ref('int_experiment_outcomes') }} as outcomes
    inner join {{ ref('int_experiment_metrics') }} as metrics on outcomes.metric_number = metrics.metric_number
    inner join identities on outcomes.identity_number = identities.identity_number
    where metrics.winsorise_percentile is not null
    group by
        metrics.metric_number, metrics.experiment_key, metrics.winsorise_percentile, metrics.aggregation,
        outcomes.identity_number

),

ranked as (

    -- From above, since identities without any outcome, who have 0, are not among the totals.
    select
        totals.metric_number,
        totals.outcome,
        sizes.identities - ceil(totals.winsorise_percentile * sizes.identities) + 1 as wanted_rank,
        row_number() over (partition by totals.metric_number order by totals.outcome desc) as descending_rank
    from totals
    inner join sizes on totals.experiment_key = sizes.experiment_key

)

select
    metrics.metric_number,
    greatest(coalesce(max(ranked.outcome), 0e0), 0e0) as cap
from {{ ref('int_experiment_metrics') }} as metrics
left join ranked on metrics.metric_number = ranked.metric_number and ranked.descending_rank = ranked.wanted_rank
where metrics.winsorise_percentile is not null
group by metrics.metric_number
