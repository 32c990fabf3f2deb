{{ config(materialized='table') }}

with events_of_metrics as (

    select
        experiment_key,
        event_name,
        max(before_days) as before_days,
        min(metric_number) as metric_number
    from {{ ref('int_experiment_metrics') }}
    group by experiment_key, event_name

),

all_events as (

    -- Every event of a metric since the experiment began. What is dated after the last webhook does not count yet.
    select
        experiments.experiment_key,
        count(*) filter (where events.occurred_at <= experiments.last_received_at) as events,
        max(events.occurred_at) filter (where events.occurred_at <= experiments.last_received_at) as last_occurred_at,
        count(*) filter (where events.occurred_at > experiments.last_received_at) as events_ahead,
        max(events.occurred_at) filter (where events.occurred_at > experiments.last_received_at) as last_ahead_at
    from {{ ref('int_outcomes') }} as events
    inner join events_of_metrics
        on events.event_name = events_of_metrics.event_name and coalesce(events.unusable_column, 'value') = 'value'
    inner join {{ ref('int_experiments') }} as experiments
        on
            events_of_metrics.experiment_key = experiments.experiment_key
            and events.occurred_at >= experiments.started_at
            and (events.occurred_at < experiments.ended_at or experiments.ended_at is null)
            and (events.environment = experiments.environment or events.environment is null)
    group by experiments.experiment_key

),

measured as (

    select
        measure_number,
        count(*) as events
    from {{ ref('int_experiment_outcomes') }}
    where measure_number is not null
    group by measure_number

),

events_of_assigned as (

    -- Those of assigned identities, which int_experiment_outcomes has looked up already.
    select
        events_of_metrics.experiment_key,
        sum(measured.events) as events,
        -- A metric with before_days asks for events before the exposure, so that they are no surprise.
        sum(measured.events) filter (
            where measured.measure_number = events_of_metrics.metric_number + {{ outcome_parts().too_early }}
            and events_of_metrics.before_days is null
        ) as before_exposure
    from measured
    inner join events_of_metrics
        on
            measured.measure_number in (
                {%- for part in ['outcome', 'before', 'too_early', 'too_late'] %}
                events_of_metrics.metric_number + {{ outcome_parts()[part] }}{{ ',' if not loop.last }}
                {%- endfor %}
            )
    group by events_of_metrics.experiment_key

)

select
    all_events.experiment_key,

    all_events.events,
    cast(greatest(all_events.events - coalesce(events_of_assigned.events, 0), 0) as bigint) as unassigned,
    cast(coalesce(events_of_assigned.before_exposure, 0) as bigint) as before_exposure,
    all_events.events_ahead,

    all_events.last_occurred_at,
    all_events.last_ahead_at
from all_events
left join events_of_assigned on all_events.experiment_key = events_of_assigned.experiment_key
