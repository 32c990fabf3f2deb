{#- A cell as a text without blanks around it (Excel's non-breaking ones included); null if it has only blanks. With is_exact,
    the blanks around the text are kept. -#}
{% macro cell_text(column, is_exact=false) %}{{ return(adapter.dispatch('cell_text', 'flagsmith_warehouse')(column, is_exact)) }}{% endmacro %}

{% macro default__cell_text(column, is_exact) %}{{ refuse_engine('cell_text', 'cell_text') }}{% endmacro %}

{% macro duckdb__cell_text(column, is_exact) %}
    {%- set text = 'cast(' ~ column ~ ' as varchar)' -%}
    {%- set trimmed = "nullif(regexp_replace(" ~ text ~ ", '^[\\s\\x{a0}\\x{200b}\\x{feff}]+|[\\s\\x{a0}\\x{200b}\\x{feff}]+$', '', 'g'), '')" -%}
    {{ return('case when ' ~ trimmed ~ ' is not null then ' ~ text ~ ' end' if is_exact else trimmed) }}
{% endmacro %}

{% macro spark__cell_text(column, is_exact) %}
    {%- set text = 'cast(' ~ column ~ ' as string)' -%}
    {%- set trimmed = 'nullif(' ~ regex_replaced(text, '^[\\s\\x{a0}\\x{200b}\\x{feff}]+|[\\s\\x{a0}\\x{200b}\\x{feff}]+$', '') ~ ", '')" -%}
    {{ return('case when ' ~ trimmed ~ ' is not null then ' ~ text ~ ' end' if is_exact else trimmed) }}
{% endmacro %}


{#- The number of a row, from 1, in the order in which the engine reads the relation. -#}
{% macro row_in_order() %}{{ return(adapter.dispatch('row_in_order', 'flagsmith_warehouse')()) }}{% endmacro %}

{% macro default__row_in_order() %}{{ refuse_engine('row_in_order', 'cell_text') }}{% endmacro %}

{% macro duckdb__row_in_order() %}{{ return('row_number() over ()') }}{% endmacro %}

{#- Rows of a seed are in one file, and have the order of that file. -#}
{% macro spark__row_in_order() %}{{ return('row_number() over (order by monotonically_increasing_id())') }}{% endmacro %}
