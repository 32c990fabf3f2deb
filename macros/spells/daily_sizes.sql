{#- A query: how many were in something (a segment, a cohort) at the end of each day, and how many entered and left on it;
    every day from the first entry to the environment's last delivery, also one on which nobody moved: a chart of sizes has
    no holes. For a model with the pre-hook `find_days_to_count` and the columns environment, `key`, day, members,
    entered and left.
    memberships: relation of spells with entered_at and left_at. key: the column that names what people are in. -#}
{% macro daily_sizes(memberships, key) %}
with movements as (

    select
        environment,
        {{ key }},
        cast(entered_at as date) as day,
        count(*) as entered,
        0 as left_count
    from {{ memberships }}
    group by all

    union all

    select
        environment,
        {{ key }},
        cast(left_at as date) as day,
        0 as entered,
        count(*) as left_count
    from {{ memberships }}
    where left_at is not null
    group by all

),

moved as (

    select
        environment,
        {{ key }},
        day,
        sum(entered) as entered,
        sum(left_count) as left_count
    from movements
    group by all

),

environments as (

    select
        environment,
        cast(last_received_at as date) as last_day
    from {{ ref('int_environments') }}

),

first_days as (

    select
        environment,
        {{ key }},
        min(day) as first_day
    from moved
    group by all
    {%- if builds_on_itself() and is_pruned() %}

    union all

    -- It goes on being counted when all who ever were in it have left, and were pruned.
    select
        known.environment,
        known.{{ key }},
        max(known.day) as first_day
    from {{ this }} as known
    inner join {{ changed() }} as changed
        on known.environment = changed.environment and known.day < changed.first_day
    group by known.environment, known.{{ key }}
    {%- endif %}

),

days as (

    select
        first_days.environment,
        first_days.{{ key }},
        cast({{ days_between('min(first_days.first_day)', 'environments.last_day') }} as date) as day
    from first_days
    inner join environments on first_days.environment = environments.environment
    group by first_days.environment, first_days.{{ key }}, environments.last_day

)

select
    days.environment,
    days.{{ key }},
    days.day,

    cast(
        sum(coalesce(moved.entered, 0) - coalesce(moved.left_count, 0)) over (
            partition by days.environment, days.{{ key }}
            order by days.day
        ) as bigint
    ) as members,
    cast(coalesce(moved.entered, 0) as bigint) as entered,
    cast(coalesce(moved.left_count, 0) as bigint) as "left"
from days
left join moved
    on
        days.environment = moved.environment
        and days.{{ key }} = moved.{{ key }}
        and days.day = moved.day
{%- if builds_on_itself() %}
left join {{ changed() }} as changed on days.environment = changed.environment
qualify days.day >= coalesce(changed.first_day, date '0001-01-01')
{%- elif is_pruned() %}
qualify days.day >= {{ pruned_before('days.environment') }}
{%- endif %}
{% endmacro %}
