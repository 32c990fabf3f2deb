{#- The time now as a timestamp in UTC, whatever the zone of the session. -#}
{% macro utc_now() %}{{ return(adapter.dispatch('utc_now', 'flagsmith_warehouse')()) }}{% endmacro %}

{% macro default__utc_now() %}{{ refuse_engine('utc_now', 'utc_now') }}{% endmacro %}

{% macro duckdb__utc_now() %}{{ return("cast(now() at time zone 'UTC' as timestamp)") }}{% endmacro %}

{% macro spark__utc_now() %}{{ return('current_timestamp()') }}{% endmacro %}
