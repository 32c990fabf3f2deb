{#- Hours, with fractions, from one timestamp to a later one. -#}
{% macro hours_between(earlier, later) %}
    {{ return(adapter.dispatch('hours_between', 'flagsmith_warehouse')(earlier, later)) }}
{% endmacro %}

{% macro default__hours_between(earlier, later) %}{{ refuse_engine('hours_between', 'hours_between') }}{% endmacro %}

{% macro duckdb__hours_between(earlier, later) -%}
    (epoch_us({{ later }}) - epoch_us({{ earlier }})) / 3.6e9
{%- endmacro %}

{% macro spark__hours_between(earlier, later) -%}
    (unix_micros({{ later }}) - unix_micros({{ earlier }})) / 3.6e9
{%- endmacro %}


{#- Whole days from one date to a later one. -#}
{% macro days_between(earlier, later) -%}
    cast(round({{ hours_between('cast(' ~ earlier ~ ' as timestamp)', 'cast(' ~ later ~ ' as timestamp)') }} / 24) as integer)
{%- endmacro %}
