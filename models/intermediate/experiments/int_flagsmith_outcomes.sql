{{ config(materialized=kept_unless_checked()) }}

with delivered as (
    {{ flagsmith_events(is_flagsmith_outcome('events.event')) }}
),

distinct_events as (

    -- An event may be delivered several times, and is collected anew each time. All else is the same.
    select
        environment,
        identity,
        event_name,
        {{ outcome_value('value_cell', (types_of_flagsmith_events() or {}).get('value', 'double')) }} as value,
        value_cell,
        occurred_at_cell,
        min(occurred_at) as occurred_at
    from delivered
    where environment is not null and not is_own
    group by environment, environment_key, identity, event_name, feature_name, value_cell, metadata, occurred_at_cell

),

{{ judged_outcomes('distinct_events') }}
