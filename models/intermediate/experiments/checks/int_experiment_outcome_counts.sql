{{ config(materialized='table_in_place') }}

with events_of_metrics as (

    -- The events of an experiment's metrics, and whether a metric asks for those before the exposure, so that they are no
    -- surprise.
    select
        experiment_key,
        event_name,
        max(before_days) is not null as has_before
    from {{ ref('int_experiment_metrics') }}
    group by experiment_key, event_name

),

events as (

    select
        experiments.experiment_key,
        events.identity,
        events.occurred_at,
        events.occurred_at <= experiments.last_received_at as is_past,
        events_of_metrics.has_before
    from {{ ref('int_outcomes') }} as events
    inner join events_of_metrics on events.event_name = events_of_metrics.event_name
    inner join {{ ref('int_experiments') }} as experiments
        on events_of_metrics.experiment_key = experiments.experiment_key
    -- In one expression, as in int_experiment_outcomes.
    where
        case
            when events.occurred_at < experiments.started_at or events.occurred_at >= experiments.ended_at then false
            when events.unusable_column in ('identity', 'event_name', 'occurred_at') then false
            else coalesce(events.environment = experiments.environment, true)
        end

)

select
    events.experiment_key,

    count(*) filter (where events.is_past) as events,
    count(*) filter (where events.is_past and assignments.identity is null) as unassigned,
    -- Which outcomes have the hash of a name. Looked at only where nobody is met: most outcomes are of somebody.
    count(*) filter (
        where
            case when events.is_past and assignments.identity is null then {{ looks_hashed('events.identity') }} else false end
    ) as unassigned_hashed,
    count(*) filter (
        where events.is_past and events.occurred_at < assignments.first_exposed_at and not events.has_before
    ) as before_exposure,
    -- What is dated after the last webhook does not count yet.
    count(*) filter (where not events.is_past) as events_ahead,

    max(events.occurred_at) filter (where events.is_past) as last_occurred_at,
    max(events.occurred_at) filter (where not events.is_past) as last_ahead_at
from events
left join {{ ref('int_experiment_assignments') }} as assignments
    on events.experiment_key = assignments.experiment_key and events.identity = assignments.identity
group by events.experiment_key
