{{ config(materialized='table_in_place') }}

with metrics as (

    select
        metrics.experiment_key,
        metrics.metric_number,
        metrics.event_name,
        metrics.reads_values,
        metrics.before_days,
        experiments.environment,
        experiments.last_received_at
    from {{ ref('int_experiment_metrics') }} as metrics
    inner join {{ ref('int_experiments') }} as experiments on metrics.experiment_key = experiments.experiment_key
    where metrics.before_days is not null

),

events_of_metrics as (

    select
        metrics.experiment_key,
        metrics.metric_number,
        metrics.before_days,
        events.identity,
        events.occurred_at,
        case when metrics.reads_values then events.value else 1e0 end as value
    from {{ ref('int_outcomes') }} as events
    inner join metrics on events.event_name = metrics.event_name
    where
        events.occurred_at <= metrics.last_received_at
        and (events.environment = metrics.environment or events.environment is null)

)

select
    identities.identity_number,
    events.metric_number,

    coalesce(sum(events.value), 0e0) as before_sum,
    count(events.value) as before_count
from events_of_metrics as events
inner join {{ ref('int_experiment_assignments') }} as identities
    on
        events.experiment_key = identities.experiment_key
        and events.identity = identities.identity
        and events.occurred_at < identities.first_exposed_at
        and events.occurred_at >= {{ plus_hours('identities.first_exposed_at', '(-24 * events.before_days)') }}
group by identities.identity_number, events.metric_number
