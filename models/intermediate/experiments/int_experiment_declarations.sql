{{ config(materialized='table_in_place') }}

-- Wrong declarations too: they are shown but not computed.
select
    declarations.experiment_key,
    declarations.environment,
    declarations.feature_name,
    declarations.name,
    declarations.description,

    declarations.control_variation,
    declarations.assignment_reason,
    declarations.expected_weights,
    -- A feature that is switched off is no arm, unless the declaration names `off` as one.
    declarations.control_variation = 'off'
    or ';' || replace(declarations.expected_weights, ' ', '') like '%;off=%' as has_off_as_arm,
    declarations.activation_event,
    declarations.alpha,
    declarations.decision_method,
    declarations.sequential_tuning,
    declarations.power,
    declarations.primary_population,
    declarations.breakdowns,

    declarations.problem,

    declarations.started_at,
    declarations.ended_at,
    {% if reads_flagsmith_events() -%}
    -- Time has passed until the last webhook, or until the last event.
    greatest(environments.last_received_at, events.last_occurred_at) as last_received_at
    {%- else -%}
    environments.last_received_at
    {%- endif %}
from {{ ref('int_declared_experiments') }} as declarations
left join {{ ref('int_environments') }} as environments on declarations.environment = environments.environment
{%- if reads_flagsmith_events() %}
left join (
    select environment, max(last_occurred_at) as last_occurred_at
    from {{ ref('int_flagsmith_event_counts') }}
    group by environment
) as events on declarations.environment = events.environment
{%- endif %}
