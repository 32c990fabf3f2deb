{{ config(materialized='table_in_place') }}

with clocks as (

    select
        environment,
        last_received_at
    from {{ ref('int_environments') }}

),

declarations as (

    -- Wrong declarations too: they are shown but not computed.
    select * from {{ ref('int_declared_experiments') }}

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
    declarations.primary_population,

    case
        when declarations.problem is not null then 'invalid'
        when clocks.last_received_at is null or clocks.last_received_at < declarations.started_at then 'not_started'
        when clocks.last_received_at >= declarations.ended_at then 'ended'
        else 'running'
    end as status,
    declarations.problem,

    declarations.started_at,
    declarations.ended_at,
    clocks.last_received_at
from declarations
left join clocks on declarations.environment = clocks.environment
