{{ config(materialized='table_in_place') }}

with members as (

    -- Everyone who was ever in the cohort, with the two moments from which retention is counted.
    select
        memberships.environment, memberships.cohort_key, memberships.identity,
        min(identities.first_seen_at) as first_seen_at,
        min(memberships.entered_at) as first_entered_at
    from {{ ref('fct_cohort_memberships') }} as memberships
    inner join {{ ref('dim_identities') }} as identities
        on memberships.environment = identities.environment and memberships.identity = identities.identity
    group by all

),

starts as (

    {% for period, counted_from, moment in [
        ('week', 'first_seen', 'first_seen_at'), ('week', 'entry', 'first_entered_at'),
        ('month', 'first_seen', 'first_seen_at'), ('month', 'entry', 'first_entered_at'),
    ] -%}
    select
        environment, cohort_key, identity, '{{ counted_from }}' as counted_from, '{{ period }}' as period,
        cast(date_trunc('{{ period }}', {{ moment }}) as date) as start_period
    from members
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

active_periods as (

    {% for period in ['week', 'month'] -%}
    select distinct
        environment, identity, '{{ period }}' as period,
        cast(date_trunc('{{ period }}', received_at) as date) as active_period
    from {{ ref('int_deliveries') }}
    where kind = 'evaluation' and not is_test_identity
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

groups as (

    select environment, cohort_key, counted_from, period, start_period, count(*) as identities
    from starts
    group by all

),

days as (

    -- Up to the environment's clock, as in sizes: its last delivery need not be an evaluation.
    select
        spans.environment,
        {{ each_day('min(spans.first_day)', 'cast(max(environments.last_received_at) as date)') }} as day
    from (select environment, cast(first_seen_at as date) as first_day from {{ ref('dim_identities') }}) as spans
    inner join {{ ref('int_environments') }} as environments on spans.environment = environments.environment
    group by spans.environment

),

periods as (

    -- Every period up to the environment's last one, so that the triangle has no gaps.
    {% for period in ['week', 'month'] -%}
    select distinct environment, '{{ period }}' as period, cast(date_trunc('{{ period }}', day) as date) as active_period
    from days
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

cells as (

    select
        groups.*, periods.active_period,
        row_number() over (
            partition by groups.environment, groups.cohort_key, groups.counted_from, groups.period, groups.start_period
            order by periods.active_period
        ) - 1 as period_number
    from groups
    inner join periods
        on groups.environment = periods.environment and groups.period = periods.period and groups.start_period <= periods.active_period

),

active as (

    select
        starts.environment, starts.cohort_key, starts.counted_from, starts.period, starts.start_period,
        active_periods.active_period, count(*) as active_identities
    from starts
    inner join active_periods
        on starts.environment = active_periods.environment and starts.identity = active_periods.identity
        and starts.period = active_periods.period and starts.start_period <= active_periods.active_period
    group by all

)

select
    cells.environment, cells.cohort_key, cells.counted_from, cells.period, cells.start_period,
    cast(cells.period_number as bigint) as period_number,

    cells.identities,
    coalesce(active.active_identities, 0) as active_identities,
    coalesce(active.active_identities, 0) / cast(cells.identities as double) as retention,
    environments.last_received_at
    >= case when cells.period = 'week' then cells.active_period + interval 7 day else cells.active_period + interval 1 month end as is_complete
from cells
inner join {{ ref('int_environments') }} as environments on cells.environment = environments.environment
left join active
    on cells.environment = active.environment and cells.cohort_key = active.cohort_key and cells.counted_from = active.counted_from
    and cells.period = active.period and cells.start_period = active.start_period and cells.active_period = active.active_period
{%- if is_pruned() %}
-- Activity before retention's cutoff is no longer known.
where cells.active_period >= {{ pruned_before('cells.environment') }}
{%- endif %}
