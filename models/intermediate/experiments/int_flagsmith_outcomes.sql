{{ config(materialized=kept_unless_checked()) }}

with delivered as (
    -- Names that begin with a dollar sign are Flagsmith's own.
    {{ flagsmith_events("coalesce(events.event, '') not like '$%'") }}
),

distinct_events as (

    -- An event may be delivered several times, and is collected anew each time. All else is the same.
    select
        environment,
        identity,
        event_name,
        value,
        value_cell,
        occurred_at_cell,
        min(occurred_at) as occurred_at
    from delivered
    where environment is not null and not is_own
    group by environment, environment_key, identity, event_name, feature_name, value_cell, value, metadata, occurred_at_cell

),

{{ judged_outcomes('distinct_events') }}
