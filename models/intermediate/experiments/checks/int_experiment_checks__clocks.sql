{{ config(materialized='view_in_place') }}

with hours as (

    select
        experiments.experiment_key,
        experiments.status,
        counts.events_ahead,
        counts.last_ahead_at,
        {{ hours_between('counts.last_occurred_at', 'experiments.last_received_at') }} as hours_behind,
        {{ hours_between('experiments.last_received_at', 'counts.last_ahead_at') }} as hours_ahead
    from {{ ref('int_experiment_outcome_counts') }} as counts
    inner join {{ ref('int_experiments') }} as experiments on counts.experiment_key = experiments.experiment_key

)

select
    experiment_key,
    0 as epoch,
    'data_freshness' as check_name,
    case
        when hours_behind > {{ check_threshold('data_freshness', 'alarm_threshold') }} then 'far_behind'
        when hours_behind > {{ check_threshold('data_freshness') }} then 'behind'
        else 'fresh'
    end as finding,
    hours_behind as value,
    {{ check_threshold('data_freshness') }} as threshold,
    cast(null as bigint) as affected,
    cast(null as bigint) as total,
    cast(null as string) as detail
from hours
where
    hours_behind is not null
    and status = 'running'
    and experiment_key in (select experiment_key from {{ ref('int_experiment_variation_counts') }})

union all

select
    experiment_key,
    0 as epoch,
    'outcomes_after_last_webhook' as check_name,
    case when events_ahead = 1 then 'one' else 'several' end
    || case when hours_ahead > {{ check_threshold('outcomes_after_last_webhook') }} then '_far_ahead' else '' end as finding,
    hours_ahead as value,
    {{ check_threshold('outcomes_after_last_webhook') }} as threshold,
    events_ahead as affected,
    cast(null as bigint) as total,
    cast(last_ahead_at as string) as detail
from hours
where events_ahead > 0
