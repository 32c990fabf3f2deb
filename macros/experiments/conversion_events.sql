{#- The relation with the outcomes: what `var('conversion_events')` names, or the example seed; without its file
    there are no outcomes. Only int_outcomes reads it: what that hands on is typed. -#}
{% macro conversion_events() %}
    {%- if not var('conversion_events', none) and is_missing_file('example_conversion_events') -%}
        {%- set columns = [] -%}
        {%- for column, type in conversion_event_columns().items() -%}
            {%- do columns.append('cast(null as ' ~ type ~ ') as ' ~ column) -%}
        {%- endfor -%}
        {{ return('(select ' ~ columns | join(', ') ~ ' from (select 1 as nothing) as nowhere where 1 = 0)') }}
    {%- endif -%}
    {{ return(var('conversion_events', none) or ref('example_conversion_events')) }}
{% endmacro %}

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

{#- The columns that the relation has, {name: type}; none where it does not exist. The seed's types are known, also before
    it is loaded, and so are those of every relation while nothing is built (`dbt compile`). -#}
{% macro conversion_event_columns() %}
    {%- if not is_built_now() or not var('conversion_events', none) -%}
        {{ return({
            'identity': 'VARCHAR', 'event_name': 'VARCHAR', 'occurred_at': 'TIMESTAMP', 'value': 'DOUBLE', 'environment': 'VARCHAR',
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
    {%- set name = conversion_events() | string -%}
    {%- set columns = conversion_event_columns() -%}
    {%- set problems = [] -%}
    {%- if columns is none -%}
        {%- do problems.append({
            'column_name': none, 'cell': name,
            'problem': 'there is no relation ' ~ name,
            'remedy': 'name the table or view with the outcomes in `vars: conversion_events`, with its schema',
        }) -%}
        {{ return(problems) }}
    {%- endif -%}
    {%- set fault = relation_fault(name) if is_built_now() -%}
    {%- if fault -%}
        {%- do problems.append({
            'column_name': none, 'cell': name,
            'problem': name ~ ' cannot be read: ' ~ fault.split('\n')[0],
            'remedy': 'put back what it reads, or name another relation in `vars: conversion_events`',
        }) -%}
        {{ return(problems) }}
    {%- endif -%}
    {%- for column, rule in outcome_columns().items() -%}
        {%- if column not in columns and not rule.is_optional -%}
            {%- do problems.append({
                'column_name': column, 'cell': none,
                'problem': name ~ ' has no column ' ~ column ~ ', but ' ~ columns | join(', '),
                'remedy': 'name a view that has it (' ~ rule.types | join(', ') ~ ')',
            }) -%}
        {%- elif column in columns and type_family(columns[column]) not in rule.types -%}
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
    {%- if column not in columns -%} cast(null as varchar)
    {%- elif columns[column] == 'VARCHAR' -%} events.{{ column }}
    {%- else -%} cast(events.{{ column }} as varchar)
    {%- endif -%}
{%- endmacro %}

{#- An expression: when an outcome happened, in UTC; null where the text is no date in ISO 8601. -#}
{% macro outcome_time(columns) -%}
    {%- if columns.occurred_at == 'TIMESTAMP' -%} events.occurred_at
    {%- elif type_family(columns.occurred_at) == 'text' -%}
        {{ utc_timestamp('trim(' ~ outcome_text('occurred_at', columns) ~ ')') }}
    {%- else -%} {{ utc_of('events.occurred_at', type_family(columns.occurred_at)) }}
    {%- endif -%}
{%- endmacro %}

{#- An expression: the value of an outcome; null where it is no number, or one with which no mean can be computed: squares
    of squares of it must not be infinite. -#}
{% macro outcome_value(columns) -%}
    {%- set number = double_of('trim(' ~ outcome_text('value', columns) ~ ')') if type_family(columns.get('value', 'NULL')) == 'text'
        else 'cast(events.value as double)' -%}
    case when abs({{ number }}) < 1e60 then {{ number }} end
{%- endmacro %}

{#- The sufficient statistics that the results are computed from: this project's own, or a relation of the same columns
    named by `var('experiment_statistics')` (sums made on a cluster, another tool's, a simulation's). -#}
{% macro experiment_statistics() %}
    {{ return(var('experiment_statistics', none) or ref('int_experiment_statistics')) }}
{% endmacro %}
