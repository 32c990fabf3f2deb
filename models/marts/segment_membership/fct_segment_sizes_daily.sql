{{ config(materialized='table') }}

with movements as (

    select
        environment,
        segment_id,
        cast(entered_at as date) as day,
        count(*) as entered,
        0 as left_count
    from {{ ref('fct_segment_memberships') }}
    group by all

    union all

    select
        environment,
        segment_id,
        cast(left_at as date) as day,
        0 as entered,
        count(*) as left_count
    from {{ ref('fct_segment_memberships') }}
    where left_at is not null
    group by all

),

segments as (

    select
        memberships.environment,
        memberships.segment_id,
        max_by(memberships.segment_name, {'at': memberships.entered_at, 'identity': memberships.identity}) as segment_name,
        min(cast(memberships.entered_at as date)) as first_day
    from {{ ref('fct_segment_memberships') }} as memberships
    group by all

),

environments as (

    select
        environment,
        max(cast(received_at as date)) as last_day
    from {{ ref('int_deliveries') }}
    group by environment

),

days as (

    -- Every day, also one on which nobody moved: a chart of sizes has no holes.
    select
        segments.environment,
        segments.segment_id,
        segments.segment_name,
        cast({{ days_between('segments.first_day', 'environments.last_day') }} as date) as day
    from segments
    inner join environments on segments.environment = environments.environment

),

moved as (

    select
        environment,
        segment_id,
        day,
        sum(entered) as entered,
        sum(left_count) as left_count
    from movements
    group by all

)

select
    days.environment,
    days.segment_id,
    days.day,

    days.segment_name,
    cast(
        sum(coalesce(moved.entered, 0) - coalesce(moved.left_count, 0)) over (
            partition by days.environment, days.segment_id
            order by days.day
        ) as bigint
    ) as members,
    cast(coalesce(moved.entered, 0) as bigint) as entered,
    cast(coalesce(moved.left_count, 0) as bigint) as "left"
from days
left join moved
    on
        days.environment = moved.environment
        and days.segment_id = moved.segment_id
        and days.day = moved.day
