{{ config(materialized='table') }}

with clocks as (

    select
        environment,
        last_received_at
    from {{ ref('int_environments') }}

),

problems as (

    -- A wrong experiment is not computed. A wrong metric spoils only itself.
    select experiment_key, min(problem) as problem
    from {{ ref('experiment_declaration_problems') }}
    where declared_in = 'experiments'
    group by experiment_key

),

declarations as (

    select
        experiment_key,
        any_value(environment) as environment,
        any_value(feature_name) as feature_name,
        any_value(control_variation) as control_variation,
        any_value(assignment_reason) as assignment_reason,
        coalesce(any_value(expected_weights), 'auto') as expected_weights,
        any_value(activation_event) as activation_event,
        coalesce(any_value(alpha), 0.05e0) as alpha,
        coalesce(any_value(decision_method), 'sequential') as decision_method,
        cast(coalesce(any_value(sequential_tuning), 5000) as double) as sequential_tuning,
        coalesce(any_value(power), 0.8e0) as power,
        any_value(started_at) as started_at,
        any_value(ended_at) as ended_at
    from {{ declared('experiments') }}
    where experiment_key is not null
    group by experiment_key

)

select
    declarations.experiment_key,
    declarations.environment,
    declarations.feature_name,

    declarations.control_variation,
    declarations.assignment_reason,
    declarations.expected_weights,
    declarations.activation_event,
    declarations.alpha,
    declarations.decision_method,
    declarations.sequential_tuning,
    declarations.power,

    case
        when problems.problem is not null then 'invalid'
        when clocks.last_received_at is null or clocks.last_received_at < declarations.started_at then 'not_started'
        when clocks.last_received_at >= declarations.ended_at then 'ended'
        else 'running'
    end as status,
    problems.problem,

    declarations.started_at,
    declarations.ended_at,
    clocks.last_received_at
from declarations
left join clocks on declarations.environment = clocks.environment
left join problems on declarations.experiment_key = problems.experiment_key
