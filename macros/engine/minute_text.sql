{#- A timestamp as a text to the minute: 2026-05-01 14:00. -#}
{% macro minute_text(timestamp) %}{{ return(adapter.dispatch('minute_text', 'flagsmith_warehouse')(timestamp)) }}{% endmacro %}

{% macro default__minute_text(timestamp) %}{{ refuse_engine('minute_text', 'minute_text') }}{% endmacro %}

{% macro duckdb__minute_text(timestamp) %}{{ return('strftime(' ~ timestamp ~ ", '%Y-%m-%d %H:%M')") }}{% endmacro %}

{% macro spark__minute_text(timestamp) %}{{ return("date_format(" ~ timestamp ~ ", 'yyyy-MM-dd HH:mm')") }}{% endmacro %}
