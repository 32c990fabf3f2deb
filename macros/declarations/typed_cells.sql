{#- A pattern: a number as programs write it. No thousands separators, no decimal comma, no per cent sign. -#}
{% macro number_pattern() %}
    {{ return('^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?$') }}
{% endmacro %}

{#- An expression: the cell as a finite double, or null. -#}
{% macro cell_number(cell) -%}
    case
        when {{ regex_matches(cell, flagsmith_warehouse.number_pattern()) }} and abs({{ double_of(cell) }}) < 1e300 then {{ double_of(cell) }}
    end
{%- endmacro %}

{#- An expression: the cell as a double that is a whole number, or null. -#}
{% macro cell_whole_number(cell) -%}
    case when {{ cell_number(cell) }} = round({{ cell_number(cell) }}) and abs({{ cell_number(cell) }}) < 1e15 then {{ cell_number(cell) }} end
{%- endmacro %}

{#- A pattern: weights as plain_weights writes them. -#}
{% macro weights_pattern() %}
    {%- set weight = '[^;=]*[^;=\\s]=([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?' -%}
    {{ return('^' ~ weight ~ '(;' ~ weight ~ ')*$') }}
{% endmacro %}

{#- An expression: weights without blanks around names and numbers, and without a last semicolon. -#}
{% macro plain_weights(cell) -%}
    {%- set blanks = '[\\s\\x{a0}]*' -%}
    {%- set parts = regex_replaced(cell, blanks ~ ';' ~ blanks, ';') -%}
    {{ regex_replaced(regex_replaced(parts, blanks ~ '=' ~ blanks ~ '([^=;]*)(;|$)', '=\\1\\2'), ';+$', '') }}
{%- endmacro %}

{#- Select: the rows of one declaration with typed columns, null where a cell is empty or not understood. -#}
{% macro typed_rows(name) %}
    {%- set types = {'number': 'double', 'whole': 'bigint', 'time': 'timestamp'} %}
    select
        row_number
        {%- for column, rule in flagsmith_warehouse.declarations()[name].columns.items() %},
        {%- set cell = "max(case when column_name = '" ~ column ~ "' then cell end)" %}
        {%- if rule.type == 'number' %}
        {{ cell_number(cell) }} as {{ column }}
        {%- elif rule.type == 'whole' %}
        cast({{ cell_whole_number(cell) }} as bigint) as {{ column }}
        {%- elif rule.type == 'time' %}
        {{ utc_timestamp(cell) }} as {{ column }}
        {%- elif rule.type == 'choice' %}
        lower({{ cell }}) as {{ column }}
        {%- elif rule.type == 'weights' %}
        case when lower({{ cell }}) = 'auto' then 'auto' else {{ plain_weights(cell) }} end as {{ column }}
        {%- else %}
        {{ cell }} as {{ column }}
        {%- endif %}
        {%- endfor %}
    from {{ ref('int_declaration_cells') }}
    where declaration = '{{ name }}'
    group by row_number
{% endmacro %}
