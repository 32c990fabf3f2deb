{#- A query: the members of segments or cohorts at the end of each day, and how many entered and left on that day. It has
    a row for every day from the first entry to the environment's last delivery, so that a chart has no
    gaps. For a model that replaces `days`, with the columns environment, `key`, day, members, entered and left.
    memberships: relation of spells with entered_at and left_at. key: the column that names the segment or cohort. -#}
{% macro daily_sizes(memberships, key) %}
with counted as (

    -- The first day to count again in each environment.
    select
        environment,
        max(rebuilt_from) as rebuilt_from
    from {{ known() }} as known
    group by environment

),

movements as (

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

    union all

    -- A segment or cohort is still counted after all its members have left and were pruned.
    select
        known.environment,
        known.{{ key }},
        max(known.day) as first_day
    from {{ known() }} as known
    where known.day < known.rebuilt_from
    group by known.environment, known.{{ key }}

),

days as (

    select
        first_days.environment,
        first_days.{{ key }},
        {{ each_day('min(first_days.first_day)', 'environments.last_day') }} as day
    from first_days
    inner join environments on first_days.environment = environments.environment
    group by first_days.environment, first_days.{{ key }}, environments.last_day

),

sizes as (

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
        cast(coalesce(moved.left_count, 0) as bigint) as left_count
    from days
    left join moved
        on
            days.environment = moved.environment
            and days.{{ key }} = moved.{{ key }}
            and days.day = moved.day

)

select
    sizes.environment,
    sizes.{{ key }},
    sizes.day,

    sizes.members,
    sizes.entered,
    sizes.left_count as {{ adapter.quote('left') }}
from sizes
left join counted on sizes.environment = counted.environment
where sizes.day >= coalesce(counted.rebuilt_from, {{ pruned_before('sizes.environment') }})
{% endmacro %}
