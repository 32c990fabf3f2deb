{{ config(materialized='table') }}

with movements as (

    select
        environment,
        cohort_key,
        cast(entered_at as date) as day,
        count(*) as entered,
        0 as left_count
    from {{ ref('fct_cohort_memberships') }}
    group by all

    union all

    select
        environment,
        cohort_key,
        cast(left_at as date) as day,
        0 as entered,
        count(*) as left_count
    from {{ ref('fct_cohort_memberships') }}
    where left_at is not null
    group by all

),

moved as (

    select
        environment,
        cohort_key,
        day,
        sum(entered) as entered,
        sum(left_count) as left_count
    from movements
    group by all

),

environments as (

    select
        environment,
        max(cast(received_at as date)) as last_day
    from {{ ref('int_deliveries') }}
    group by environment

),

first_days as (

    select
        environment,
        cohort_key,
        min(day) as first_day
    from moved
    group by all

),

days as (

    -- Every day, also one on which nobody moved: a chart of sizes has no holes.
    select
        first_days.environment,
        first_days.cohort_key,
        cast({{ days_between('first_days.first_day', 'environments.last_day') }} as date) as day
    from first_days
    inner join environments on first_days.environment = environments.environment

)

select
    days.environment,
    days.cohort_key,
    days.day,

    cast(
        sum(coalesce(moved.entered, 0) - coalesce(moved.left_count, 0)) over (
            partition by days.environment, days.cohort_key
            order by days.day
        ) as bigint
    ) as members,
    cast(coalesce(moved.entered, 0) as bigint) as entered,
    cast(coalesce(moved.left_count, 0) as bigint) as "left"
from days
left join moved
    on
        days.environment = moved.environment
        and days.cohort_key = moved.cohort_key
        and days.day = moved.day
