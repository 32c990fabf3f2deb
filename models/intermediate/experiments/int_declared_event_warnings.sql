{{ config(materialized=kept_unless_checked()) }}

with metrics as (
    {{ typed_rows('metrics') }}
),

experiments as (
    {{ typed_rows('experiments') }}
),

named_events as (

    select
        'metrics' as declaration,
        row_number,
        'event_name' as column_name,
        cast(null as string) as experiment_key,
        metric_key,
        event_name
    from metrics

    union all

    select
        'metrics' as declaration,
        row_number,
        'denominator_event_name' as column_name,
        cast(null as string) as experiment_key,
        metric_key,
        denominator_event_name as event_name
    from metrics
    where aggregation = 'ratio'

    union all

    select
        'experiments' as declaration,
        row_number,
        'activation_event' as column_name,
        experiment_key,
        cast(null as string) as metric_key,
        activation_event as event_name
    from experiments
    {%- if reads_flagsmith_events() %}
    -- int_flagsmith_event_warnings looks for exposures of the feature.
    where activation_event <> '{{ exposure_event() }}'
    {%- endif %}

),

outcome_events as (

    select event_name, sum(outcomes) as outcomes
    from {{ ref('int_outcome_events') }}
    where event_name <> ''
    group by event_name

),

frequent_events as (

    -- To choose from, where none is spelt alike.
    select {{ joined_texts("'`' || event_name || '`'", ', ', 'frequency_rank') }} as names
    from (
        select *, row_number() over (order by outcomes desc, event_name asc) as frequency_rank
        from outcome_events
    ) as ranked
    where frequency_rank <= 10

),

unknown_events as (

    select
        named_events.declaration,
        named_events.row_number,
        named_events.column_name,
        named_events.experiment_key,
        named_events.metric_key,
        named_events.event_name as cell,
        'no outcome has this event' as problem,
        coalesce(
            case
                when named_events.event_name = '{{ exposure_event() }}'
                    then 'name the table with Flagsmith''s events in `vars: flagsmith_events_table`'
                when min(trim(alike.event_name)) = named_events.event_name then 'remove the spaces around it in the outcomes'
            end,
            'write `' || min(alike.event_name) || '`', 'write one that outcomes have, like ' || frequent_events.names
        ) || ', unless it is still to come' as remedy
    from named_events
    left join outcome_events as known on named_events.event_name = known.event_name
    left join outcome_events as alike on lower(trim(named_events.event_name)) = lower(trim(alike.event_name))
    cross join frequent_events
    where
        known.event_name is null
        and named_events.event_name is not null
        and frequent_events.names is not null
        and not exists (
            select 1
            from {{ ref('int_declaration_problems') }} as problems
            where
                named_events.declaration = problems.declaration
                and named_events.row_number = problems.row_number
                and problems.severity = 'problem'
        )
    group by
        named_events.declaration, named_events.row_number, named_events.column_name, named_events.experiment_key,
        named_events.metric_key, named_events.event_name, frequent_events.names

)

select
    'warning' as severity,
    case declaration
        when 'metrics' then {{ text_literal(declared_in('metrics')) }}
        else {{ text_literal(declared_in('experiments')) }}
    end as declared_in,
    row_number,
    column_name,

    experiment_key,
    metric_key,
    cell,
    problem,
    remedy
from unknown_events
where {{ 'false' if var('experiment_statistics', none) else 'true' }}
{%- if not conversion_events_problems() and not var('experiment_statistics', none) %}

union all

-- One row instead of one for each metric.
select
    'warning' as severity,
    {{ text_literal(outcomes_declared_in()) }} as declared_in,
    cast(null as bigint) as row_number,
    cast(null as string) as column_name,
    cast(null as string) as experiment_key,
    cast(null as string) as metric_key,
    cast(null as string) as cell,
    'there are no outcomes, so no metric has a result' as problem,
    {{ text_literal('write them there' if var('conversion_events', none) else 'name their table or folder in `vars: conversion_events`') }}
        as remedy
from (select 1 as one) as anyone
where
    exists (select 1 from {{ ref('int_declaration_cells') }} where declaration = 'experiment_metrics')
    and not exists (select 1 from {{ ref('int_outcome_events') }})
{%- endif %}
