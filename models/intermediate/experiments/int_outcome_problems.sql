{{ config(materialized=kept_unless_checked()) }}

{%- set declared_in = outcomes_declared_in() %}
with unusable as (

    select
        declared_in,
        unusable_column,
        coalesce(event_name, '') as event_name,
        sum(outcomes) as outcomes,
        min(cell) as cell
    from {{ ref('int_outcome_events') }}
    where unusable_column is not null
    group by declared_in, unusable_column, coalesce(event_name, '')

),

all_problems as (

    {% for relation, problems in [
        (declared_in, conversion_events_problems()), (var('flagsmith_events_table', none) | string, flagsmith_events_problems(types_of_flagsmith_events())),
    ] -%}
    {% for problem in problems -%}
    select
        'problem' as severity,
        {{ text_literal(relation) }} as declared_in,
        cast({{ 'null' if problem.column_name is none else text_literal(problem.column_name) }} as string) as column_name,
        cast({{ 'null' if problem.cell is none else text_literal(problem.cell) }} as string) as cell,
        {{ text_literal(problem.problem) }} as problem,
        {{ text_literal(problem.remedy) }} as remedy

    union all

    {% endfor -%}
    {% endfor -%}
    {% for fault in outcome_file_faults() -%}
    select
        'problem' as severity,
        {{ text_literal(declared_in) }} as declared_in,
        cast(null as string) as column_name,
        {{ text_literal(fault.file.split('/')[-1]) }} as cell,
        {% if fault.line -%}
        {{ text_literal('line ' ~ fault.line ~ (' and ' ~ (fault.lines - 1) ~ ' more' if fault.lines > 1 else '')
            ~ ' cannot be read: left out (' ~ fault.error ~ ')') }} as problem,
        {%- else -%}
        {{ text_literal('the file cannot be read: left out (' ~ fault.error ~ ')') }} as problem,
        {%- endif %}
        'save it as CSV UTF-8, with a comma between cells and quotation marks around a cell that holds one' as remedy

    union all

    {% endfor -%}
    select
        'warning' as severity,
        declared_in,
        unusable_column as column_name,
        cell,
        {{ counted('outcomes', 'outcome') }}
        || case when event_name <> '' then ' of the event ' || event_name else '' end
        || case unusable_column
            when 'value' then ' with a value that is not a finite number: the value is left out'
            when 'occurred_at' then ' without a time that can be read: left out'
            else ' without ' || unusable_column || ': left out'
        end as problem,
        case unusable_column
            when 'value' then 'write a number, or nothing where the event is only counted'
            when 'occurred_at' then 'write dates and times as 2026-01-09 or 2026-01-09T14:00:00+02:00'
            when 'identity' then 'write the identity exactly as Flagsmith sends it'
            else 'name the event'
        end as remedy
    from unusable

)

select
    severity,
    declared_in,
    cast(null as bigint) as row_number,
    column_name,
    cast(null as string) as experiment_key,
    cast(null as string) as metric_key,
    cell,
    problem,
    remedy
from all_problems
