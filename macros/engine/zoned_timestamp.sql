{#- A timestamp without zone that is in UTC, as one with a zone, whatever the zone of the session. -#}
{% macro zoned_timestamp(moment) %}{{ return(adapter.dispatch('zoned_timestamp', 'flagsmith_warehouse')(moment)) }}{% endmacro %}

{% macro default__zoned_timestamp(moment) %}{{ refuse_engine('zoned_timestamp', 'zoned_timestamp') }}{% endmacro %}

{% macro duckdb__zoned_timestamp(moment) %}{{ return(moment ~ " at time zone 'UTC'") }}{% endmacro %}

{% macro spark__zoned_timestamp(moment) %}{{ return(moment) }}{% endmacro %}
