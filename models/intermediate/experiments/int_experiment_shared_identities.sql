{{ config(materialized='table_in_place') }}

with running as (

    select * from {{ ref('int_experiments') }}
    where status = 'running'

),

metrics as (

    -- The primary metric. The interaction is in sums of identities, which a ratio and a quantile are not.
    select
        experiment_key,
        min(metric_key) as metric_key,
        min_by(last_matured_at, metric_key) as last_matured_at
    from {{ ref('int_experiment_metrics') }}
    where role = 'primary' and not is_ratio and quantile is null
    group by experiment_key

),

pairs as (

    select
        mine.experiment_key,
        others.experiment_key as other_experiment_key,
        mine.control_variation,
        others.control_variation as other_control_variation,
        metrics.metric_key,
        metrics.last_matured_at
    from running as mine
    inner join running as others
        on mine.environment = others.environment and mine.experiment_key <> others.experiment_key
    left join metrics on mine.experiment_key = metrics.experiment_key

),

totals as (

    select
        outcomes.identity_number,
        {{ identity_value('metrics.aggregation', 'sum(outcomes.outcome_sum)', 'sum(outcomes.outcome_count)') }} as outcome,
        max(caps.cap) as cap
    from {{ ref('int_experiment_outcomes') }} as outcomes
    inner join {{ ref('int_experiment_metrics') }} as metrics on outcomes.metric_number = metrics.metric_number
    left join {{ ref('int_experiment_caps') }} as caps on metrics.metric_number = caps.metric_number
    where exists (
        select 1
        from pairs
        where metrics.experiment_key = pairs.experiment_key and metrics.metric_key = pairs.metric_key
    )
    group by outcomes.identity_number, metrics.aggregation

)

select
    pairs.experiment_key,
    pairs.other_experiment_key,
    mine.identity,

    mine.epoch,
    others.epoch as other_epoch,
    mine.variation,
    others.variation as other_variation,
    mine.variation <> pairs.control_variation as is_treated,
    others.variation <> pairs.other_control_variation as is_other_treated,
    pairs.metric_key,
    -- An identity without its whole window behind it does not count yet.
    coalesce(mine.first_exposed_at <= pairs.last_matured_at, false) as is_matured,
    coalesce({{ capped('totals.outcome', 'totals.cap') }}, 0e0) as outcome
from pairs
inner join {{ ref('int_experiment_assignments') }} as mine on pairs.experiment_key = mine.experiment_key
inner join {{ ref('int_experiment_assignments') }} as others
    on pairs.other_experiment_key = others.experiment_key and mine.identity = others.identity
left join totals on mine.identity_number = totals.identity_number
