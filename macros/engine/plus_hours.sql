{#- A timestamp so many hours (a number, with fractions, or a column) later. -#}
{% macro plus_hours(timestamp, hours) %}
    {{ return(adapter.dispatch('plus_hours', 'flagsmith_warehouse')(timestamp, hours)) }}
{% endmacro %}

{% macro default__plus_hours(timestamp, hours) %}{{ refuse_engine('plus_hours', 'plus_hours') }}{% endmacro %}

{% macro duckdb__plus_hours(timestamp, hours) -%}
    ({{ timestamp }} + to_microseconds(cast(round({{ hours }} * 3.6e9) as bigint)))
{%- endmacro %}

{% macro spark__plus_hours(timestamp, hours) -%}
    timestamp_micros(unix_micros({{ timestamp }}) + cast(round({{ hours }} * 3.6e9) as bigint))
{%- endmacro %}
