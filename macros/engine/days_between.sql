{#- Select-list item: one row per day from the first to the last, both included. -#}
{% macro days_between(first_day, last_day) %}
    {{ return(adapter.dispatch('days_between', 'flagsmith_warehouse')(first_day, last_day)) }}
{% endmacro %}

{% macro default__days_between(first_day, last_day) %}{{ refuse_engine('days_between', 'days_between') }}{% endmacro %}

{% macro duckdb__days_between(first_day, last_day) -%}
    unnest(generate_series({{ first_day }}, {{ last_day }}, interval 1 day))
{%- endmacro %}
