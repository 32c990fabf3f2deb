{#- Select-list item: one row per day from the first to the last, both included. -#}
{% macro each_day(first_day, last_day) %}{{ return(adapter.dispatch('each_day', 'flagsmith_warehouse')(first_day, last_day)) }}{% endmacro %}

{% macro default__each_day(first_day, last_day) %}{{ refuse_engine('each_day', 'each_day') }}{% endmacro %}

{% macro duckdb__each_day(first_day, last_day) -%}
    cast(unnest(generate_series({{ first_day }}, {{ last_day }}, interval 1 day)) as date)
{%- endmacro %}

{% macro spark__each_day(first_day, last_day) -%}
    explode(case
        when cast({{ first_day }} as date) <= cast({{ last_day }} as date)
            then sequence(cast({{ first_day }} as date), cast({{ last_day }} as date), interval 1 day)
    end)
{%- endmacro %}
