{#- The relation with the outcomes: what `var('conversion_events')` names, a relation or a folder of files; without it, an
    empty one. Only typed_outcomes reads its rows, and gives them types. -#}
{% macro conversion_events() %}
    {%- set named = var('conversion_events', none) -%}
    {%- if named and is_folder(named) and execute -%}
        {{ return(files_relation(project_path(named), needed_outcome_columns()) or no_conversion_events()) }}
    {%- endif -%}
    {{ return(named or no_conversion_events()) }}
{% endmacro %}

{#- Where outcomes are declared, in words. -#}
{% macro outcomes_declared_in() %}{{ return(var('conversion_events', none) or 'no outcomes') }}{% endmacro %}

{#- What of the files of outcomes cannot be read. -#}
{% macro outcome_file_faults() %}
    {%- set named = var('conversion_events', none) -%}
    {%- if not (named and is_folder(named) and (is_built_now() or is_checked_now())) -%}{{ return([]) }}{%- endif -%}
    {{ return(file_faults(project_path(named), needed_outcome_columns())) }}
{% endmacro %}

{#- The columns without which there are no outcomes. -#}
{% macro needed_outcome_columns() %}
    {%- set needed = [] -%}
    {%- for column, rule in outcome_columns().items() if not rule.is_optional -%}{%- do needed.append(column) -%}{%- endfor -%}
    {{ return(needed) }}
{% endmacro %}

{#- A relation of outcomes without rows, for projects that declare no outcomes. -#}
{% macro no_conversion_events() %}
    {{ return("(select cast(null as string) as identity, cast(null as string) as event_name, cast(null as timestamp) as occurred_at, "
        ~ "cast(null as double) as value, cast(null as string) as environment from (select 1 as nothing) as nobody where 1 = 0)") }}
{% endmacro %}

{#- True where a var names a folder of files and not a relation: it ends with a slash. -#}
{% macro is_folder(named) %}{{ return((named | string | trim).endswith('/')) }}{% endmacro %}

{#- The columns that outcomes have: which types each may be, and whether it may be missing. -#}
{% macro outcome_columns() %}
    {{ return({
        'identity': {'types': ['text', 'integer'], 'is_optional': false},
        'event_name': {'types': ['text'], 'is_optional': false},
        'occurred_at': {'types': ['timestamp', 'timestamp with time zone', 'date', 'text'], 'is_optional': false},
        'value': {'types': ['integer', 'decimal', 'float', 'text'], 'is_optional': true},
        'environment': {'types': ['text'], 'is_optional': true},
    }) }}
{% endmacro %}

{#- The columns that the relation has, {name: type}; none where it does not exist. Without one the types are known, and so
    they are while nothing is built or checked (`dbt compile`). -#}
{% macro conversion_event_columns() %}
    {%- if not (is_built_now() or is_checked_now()) or not var('conversion_events', none) -%}
        {{ return({
            'identity': 'string', 'event_name': 'string', 'occurred_at': 'TIMESTAMP', 'value': 'double', 'environment': 'string',
        }) }}
    {%- endif -%}
    {{ return(relation_columns(conversion_events())) }}
{% endmacro %}

{#- Whether outcomes say in which environment they happened. -#}
{% macro conversion_events_have_environment() %}
    {{ return('environment' in (conversion_event_columns() or {})) }}
{% endmacro %}

{#- What is wrong with the relation as a whole, as a list of {column_name, cell, problem, remedy}. With any of it there are
    no outcomes. -#}
{% macro conversion_events_problems() %}
    {%- if not (is_built_now() or is_checked_now()) or not var('conversion_events', none) -%}{{ return([]) }}{%- endif -%}
    {{ return(relation_problems(
        conversion_events() | string, 'conversion_events', conversion_event_columns(), outcome_columns(),
        'name the table or view with the outcomes in `vars: conversion_events`, with its schema, or a folder of files '
            ~ 'with a slash at its end',
        'name a view that has it'
    )) }}
{% endmacro %}

{#- What is wrong with a relation that a var names, as a list of {column_name, cell, problem, remedy}.
    columns: those that it has, {name: type}; none where it does not exist. rules: those that are read, {name: {types, is_optional}}.
    if_gone, if_missing: what to do where there is no such relation or column. -#}
{% macro relation_problems(relation, var_name, columns, rules, if_gone, if_missing) %}
    {%- set name = var(var_name) | string -%}
    {%- set problems = [] -%}
    {#- Only a view may have columns and a fault: what is no name has no columns if it has one. -#}
    {%- set fault = relation_fault(relation) if is_relation_name(relation) == (columns is not none) -%}
    {%- if columns is none and not fault -%}
        {%- do problems.append({
            'column_name': none, 'cell': name, 'problem': 'there is no relation ' ~ name, 'remedy': if_gone,
        }) -%}
        {{ return(problems) }}
    {%- endif -%}
    {%- if fault -%}
        {%- do problems.append({
            'column_name': none, 'cell': name,
            'problem': name ~ ' cannot be read: ' ~ fault.split('\n')[0],
            'remedy': 'put it in order or put back what it reads, or name another relation in `vars: ' ~ var_name ~ '`',
        }) -%}
        {{ return(problems) }}
    {%- endif -%}
    {%- for column, rule in rules.items() -%}
        {%- if column not in columns and not rule.is_optional -%}
            {%- do problems.append({
                'column_name': column, 'cell': none,
                'problem': name ~ ' has no column ' ~ column ~ ', but ' ~ columns | join(', '),
                'remedy': if_missing ~ (' (' ~ rule.types | join(', ') ~ ')' if rule.types else ''),
            }) -%}
        {%- elif column in columns and rule.types and type_family(columns[column]) not in rule.types -%}
            {%- do problems.append({
                'column_name': column, 'cell': columns[column],
                'problem': name ~ '.' ~ column ~ ' is of type ' ~ columns[column] ~ '; accepted are ' ~ rule.types | join(', '),
                'remedy': 'name a view that casts it to one of them',
            }) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(problems) }}
{% endmacro %}

{#- An expression: a column of the relation as a text. -#}
{% macro outcome_text(column, columns) -%}
    {%- if column not in columns -%} cast(null as string)
    {%- else -%} cast(events.{{ column }} as string)
    {%- endif -%}
{%- endmacro %}

{#- An expression: a column of that type as a timestamp in UTC; null where it is a text that is no date in ISO 8601. -#}
{% macro time_in_utc(column, type) -%}
    {%- if type == 'TIMESTAMP' -%} {{ column }}
    {%- elif type_family(type) == 'text' -%} {{ utc_timestamp('trim(cast(' ~ column ~ ' as string))') }}
    {%- else -%} {{ utc_of(column, type_family(type)) }}
    {%- endif -%}
{%- endmacro %}

{#- An expression: the value of an outcome, from a column of that type; null if it is not a number, or is too large to compute means
    and variances with: squares of squares of it must not be infinite. -#}
{% macro outcome_value(column, type) -%}
    {%- set number = double_of('trim(cast(' ~ column ~ ' as string))') if type_family(type) == 'text' else 'cast(' ~ column ~ ' as double)' -%}
    case when abs({{ number }}) < 1e60 then {{ number }} end
{%- endmacro %}

{#- The sufficient statistics that the results are computed from: this project's own, or a relation of the same columns
    named by `var('experiment_statistics')` (sums made on a cluster, another tool's, a simulation's). -#}
{% macro experiment_statistics() %}
    {{ return(var('experiment_statistics', none) or ref('int_experiment_statistics')) }}
{% endmacro %}

{#- The rows of int_outcomes: each outcome, typed. -#}
{% macro typed_outcomes() %}
{%- set columns = conversion_event_columns() %}
{%- if conversion_events_problems() %}

-- The relation cannot be read: int_outcome_problems says why.
select
    cast(null as string) as environment,
    cast(null as string) as identity,
    cast(null as string) as event_name,
    cast(null as double) as value,
    cast(null as string) as unusable_column,
    cast(null as string) as unusable_cell,
    cast(null as timestamp) as occurred_at
from (select 1 as nothing) as nowhere
where 1 = 0
{%- else %}

with typed as (

    select
        nullif({{ outcome_text('environment', columns) }}, '') as environment,
        {{ outcome_text('identity', columns) }} as identity,
        {{ outcome_text('event_name', columns) }} as event_name,
        {{ outcome_value('events.value', columns.value) if 'value' in columns else 'cast(null as double)' }} as value,
        {{ 'events.value' if 'value' in columns else 'cast(null as double)' }} as value_cell,
        events.occurred_at as occurred_at_cell,
        {{ time_in_utc('events.occurred_at', columns.occurred_at) }} as occurred_at
    from {{ conversion_events() }} as events

),

{{ judged_outcomes('typed') }}
{%- endif %}
{% endmacro %}

{#- The steps from typed outcomes to the rows of int_outcomes: what of each cannot be used. -#}
{% macro judged_outcomes(typed) %}
judged as (

    -- A cell is made a text only where it is looked at: of 10,000,000 numbers that takes 6 s of processor.
    select
        *,
        case
            when identity is null or identity = '' then 'identity'
            when event_name is null or event_name = '' then 'event_name'
            when occurred_at is null or not {{ is_finite_time('occurred_at') }} then 'occurred_at'
            when value is null then case when trim(cast(value_cell as string)) <> '' then 'value' end
        end as unusable_column
    from {{ typed }}

)

select
    environment,
    identity,
    event_name,
    value,
    unusable_column,
    case unusable_column
        when 'occurred_at' then cast(occurred_at_cell as string)
        when 'value' then cast(value_cell as string)
    end as unusable_cell,
    occurred_at
from judged
{%- endmacro %}
