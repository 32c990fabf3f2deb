{#- The timestamp, in UTC, of a whole number of seconds since 1970. -#}
{% macro timestamp_of_seconds(seconds) %}{{ return(adapter.dispatch('timestamp_of_seconds', 'flagsmith_warehouse')(seconds)) }}{% endmacro %}

{% macro default__timestamp_of_seconds(seconds) %}{{ refuse_engine('timestamp_of_seconds', 'timestamp_of_seconds') }}{% endmacro %}

{% macro duckdb__timestamp_of_seconds(seconds) %}{{ return('make_timestamp(' ~ seconds ~ ' * 1000000)') }}{% endmacro %}

{% macro spark__timestamp_of_seconds(seconds) %}{{ return('timestamp_seconds(' ~ seconds ~ ')') }}{% endmacro %}
