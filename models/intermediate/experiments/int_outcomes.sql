{{ config(materialized=kept_unless_checked('view')) }}

{%- set columns = conversion_event_columns() %}
{%- if conversion_events_problems() %}

-- The relation cannot be read: int_outcome_problems says why.
select
    cast(null as varchar) as environment,
    cast(null as varchar) as identity,
    cast(null as varchar) as event_name,
    cast(null as double) as value,
    cast(null as varchar) as unusable_column,
    cast(null as varchar) as unusable_cell,
    cast(null as timestamp) as occurred_at
from (select 1 as nothing) as nowhere
where 1 = 0
{%- else %}

with typed as (

    select
        nullif({{ outcome_text('environment', columns) }}, '') as environment,
        {{ outcome_text('identity', columns) }} as identity,
        {{ outcome_text('event_name', columns) }} as event_name,
        {{ outcome_value(columns) }} as value,
        {{ outcome_text('value', columns) }} as value_cell,
        cast(events.occurred_at as varchar) as occurred_at_cell,
        {{ outcome_time(columns) }} as occurred_at
    from {{ conversion_events() }} as events

),

judged as (

    select
        *,
        case
            when identity is null or identity = '' then 'identity'
            when event_name is null or event_name = '' then 'event_name'
            when occurred_at is null or not {{ is_finite_time('occurred_at') }} then 'occurred_at'
            when value is null and trim(value_cell) <> '' then 'value'
        end as unusable_column
    from typed

)

select
    environment,
    identity,
    event_name,
    value,
    unusable_column,
    case unusable_column when 'occurred_at' then occurred_at_cell when 'value' then value_cell end as unusable_cell,
    occurred_at
from judged
{%- endif %}
