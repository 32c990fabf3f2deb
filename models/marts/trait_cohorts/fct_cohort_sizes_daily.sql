{{ config(
    pre_hook="{{ find_days_to_count() }}",
    meta={
        'built_from': ['fct_cohort_memberships', 'fct_deliveries_hourly'],
        'is_made_of_what_is_left': true,
        'replaces': 'target.environment = changed.environment and target.day >= changed.first_day',
    },
) }}

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

    -- Hours, not deliveries: those of an environment that has fallen silent may all have been pruned.
    select
        environment,
        max(cast(last_received_at as date)) as last_day
    from {{ ref('fct_deliveries_hourly') }}
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
{%- if builds_on_itself() and is_pruned() %}

known_cohorts as (

    -- A cohort goes on being counted when all who ever were in it have left, and were pruned.
    select
        known.environment,
        known.cohort_key,
        max(known.day) as last_day
    from {{ this }} as known
    inner join {{ changed() }} as changed
        on known.environment = changed.environment and known.day < changed.first_day
    group by known.environment, known.cohort_key

),
{%- endif %}

days as (

    -- Every day, also one on which nobody moved: a chart of sizes has no holes.
    select
        first_days.environment,
        first_days.cohort_key,
        cast({{ days_between('first_days.first_day', 'environments.last_day') }} as date) as day
    from first_days
    inner join environments on first_days.environment = environments.environment
    {%- if builds_on_itself() and is_pruned() %}

    union

    select
        known_cohorts.environment,
        known_cohorts.cohort_key,
        cast({{ days_between('known_cohorts.last_day', 'environments.last_day') }} as date) as day
    from known_cohorts
    inner join environments on known_cohorts.environment = environments.environment
    {%- endif %}

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
{%- if builds_on_itself() %}
left join {{ changed() }} as changed on days.environment = changed.environment
qualify days.day >= coalesce(changed.first_day, date '0001-01-01')
{%- elif is_pruned() %}
qualify days.day >= {{ pruned_before('days.environment') }}
{%- endif %}
