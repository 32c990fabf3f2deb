{{ config(
    pre_hook="{{ find_days_to_count() }}",
    meta={
        'built_from': ['fct_segment_memberships', 'fct_deliveries_hourly'],
        'replaces': 'target.environment = changed.environment and target.day >= changed.first_day',
    },
) }}

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
{%- if builds_on_itself() and is_pruned() %}

known_segments as (

    -- A segment goes on being counted when all who ever were in it have left, and were pruned.
    select
        known.environment,
        known.segment_id,
        max_by(known.segment_name, known.day) as segment_name,
        max(known.day) as last_day
    from {{ this }} as known
    inner join {{ changed() }} as changed
        on known.environment = changed.environment and known.day < changed.first_day
    group by known.environment, known.segment_id

),
{%- endif %}

environments as (

    -- Hours, not deliveries: those of an environment that has fallen silent may all have been pruned.
    select
        environment,
        max(cast(last_received_at as date)) as last_day
    from {{ ref('fct_deliveries_hourly') }}
    group by environment

),

days as (

    -- Every day, also one on which nobody moved: a chart of sizes has no holes.
    select
        segments.environment,
        segments.segment_id,
        segments.segment_name,
        cast({{ days_between('segments.first_day', 'environments.last_day') }} as date) as day
    from {% if builds_on_itself() and is_pruned() -%} (

        select
            coalesce(segments.environment, known_segments.environment) as environment,
            coalesce(segments.segment_id, known_segments.segment_id) as segment_id,
            coalesce(segments.segment_name, known_segments.segment_name) as segment_name,
            least(segments.first_day, known_segments.last_day) as first_day
        from segments
        full join known_segments
            on segments.environment = known_segments.environment and segments.segment_id = known_segments.segment_id

    ) as {% endif -%} segments
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
{%- if builds_on_itself() %}
left join {{ changed() }} as changed on days.environment = changed.environment
qualify days.day >= coalesce(changed.first_day, date '0001-01-01')
{%- elif is_pruned() %}
qualify days.day >= {{ pruned_before('days.environment') }}
{%- endif %}
