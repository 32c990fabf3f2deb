{{ config(materialized='table_in_place') }}

with events_of_experiments as (

    -- The events that an experiment reads, whether it reads their values, and from how many days before the exposure on.
    select
        experiment_key,
        event_name,
        bool_or(reads_values) as has_values,
        coalesce(max(before_days), 0) as before_days,
        coalesce(max(case when reads_values then before_days end), 0) as before_days_of_values
    from {{ ref('int_experiment_metrics') }}
    group by experiment_key, event_name

    union

    select
        experiment_key,
        denominator_event_name as event_name,
        bool_or(denominator_aggregation = 'sum') as has_values,
        0 as before_days,
        0 as before_days_of_values
    from {{ ref('int_experiment_metrics') }}
    where denominator_event_name is not null
    group by experiment_key, denominator_event_name

    union

    select
        experiment_key,
        activation_event as event_name,
        false as has_values,
        0 as before_days,
        0 as before_days_of_values
    from {{ ref('int_experiments') }}
    where status <> 'invalid' and activation_event is not null

),

distinct_events as (

    select
        experiment_key,
        event_name,
        bool_or(has_values) as has_values,
        max(before_days) as before_days,
        max(before_days_of_values) as before_days_of_values
    from events_of_experiments
    group by experiment_key, event_name

)

select
    experiments.experiment_key,
    outcomes.event_name,
    outcomes.unusable_column,
    count(*) as outcomes
from {{ ref('int_outcomes') }} as outcomes
inner join distinct_events on outcomes.event_name = distinct_events.event_name
inner join {{ ref('int_experiments') }} as experiments on distinct_events.experiment_key = experiments.experiment_key
where
    outcomes.unusable_column is not null
    and (distinct_events.has_values or outcomes.unusable_column <> 'value')
    and (outcomes.environment = experiments.environment or outcomes.environment is null)
    and (
        -- An outcome whose time cannot be read may be of any time.
        outcomes.unusable_column = 'occurred_at'
        or (
            outcomes.occurred_at >= {{ plus_hours(
                'experiments.started_at',
                "(-24 * case when outcomes.unusable_column = 'value' then distinct_events.before_days_of_values else distinct_events.before_days end)"
            ) }}
            and (outcomes.occurred_at < experiments.ended_at or experiments.ended_at is null)
            and outcomes.occurred_at <= experiments.last_received_at
        )
    )
group by experiments.experiment_key, outcomes.event_name, outcomes.unusable_column
