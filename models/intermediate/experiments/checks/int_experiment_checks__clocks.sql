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

),

cut_windows as (

    -- Metrics of ended experiments, and how many identities were assigned too late for their window to pass before the end.
    select
        metrics.experiment_key,
        metrics.metric_name,
        metrics.metric_key,
        count(*) as identities,
        count(*) filter (where identities.first_exposed_at > metrics.last_matured_at) as late_identities
    from {{ ref('int_experiment_metrics') }} as metrics
    inner join {{ ref('int_experiments') }} as experiments on metrics.experiment_key = experiments.experiment_key
    inner join {{ ref('int_experiment_assignments') }} as identities
        on metrics.experiment_key = identities.experiment_key
    where experiments.status = 'ended' and metrics.hours_to_maturity > 0
    group by metrics.experiment_key, metrics.metric_key, metrics.metric_name
    having count(*) filter (where identities.first_exposed_at > metrics.last_matured_at) > 0

),

most_cut as (

    select
        *,
        max(late_identities) over (partition by experiment_key) as most_late_identities
    from cut_windows

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

union all

select
    experiment_key,
    0 as epoch,
    'windows_passed' as check_name,
    case
        when max(late_identities / identities) >= {{ check_threshold('windows_passed') }} then 'none' else 'some'
    end as finding,
    max(late_identities / identities) as value,
    {{ check_threshold('windows_passed') }} as threshold,
    max(late_identities) as affected,
    max(identities) as total,
    {{ joined_texts('metric_name', ', ', 'metric_key') }} as detail
from most_cut
where late_identities = most_late_identities
group by experiment_key
