{{ config(materialized='table_in_place') }}

with ends as (

    select
        declarations.*,
        stops.stop_reason,
        -- A stop is never after the declared end, since nothing is read from there on.
        coalesce(stops.began_at, declarations.ended_at) as effective_end
    from {{ ref('int_experiment_declarations') }} as declarations
    left join {{ ref('int_experiment_stops') }} as stops
        on declarations.experiment_key = stops.experiment_key and stops.is_end

)

select
    experiment_key,
    environment,
    feature_name,
    name,
    description,

    control_variation,
    assignment_reason,
    expected_weights,
    has_off_as_arm,
    activation_event,
    alpha,
    decision_method,
    sequential_tuning,
    power,
    primary_population,
    breakdowns,

    case
        when problem is not null then 'invalid'
        when last_received_at is null or last_received_at < started_at then 'not_started'
        when last_received_at >= effective_end then 'ended'
        else 'running'
    end as status,
    case
        when problem is not null or last_received_at is null or last_received_at < started_at then null
        when stop_reason is not null then stop_reason
        when last_received_at >= ended_at then 'declared'
    end as end_reason,
    problem,

    started_at,
    effective_end as ended_at,
    last_received_at
from ends
