{#- Seconds, to the microsecond, from one timestamp to a later one. -#}
{% macro seconds_between(earlier, later) %}{{ return(adapter.dispatch('seconds_between', 'flagsmith_warehouse')(earlier, later)) }}{% endmacro %}

{% macro default__seconds_between(earlier, later) %}{{ refuse_engine('seconds_between', 'seconds_between') }}{% endmacro %}

{% macro duckdb__seconds_between(earlier, later) %}{{ return('((epoch_us(' ~ later ~ ') - epoch_us(' ~ earlier ~ ')) / 1e6)') }}{% endmacro %}

{% macro spark__seconds_between(earlier, later) %}
    {{ return('((unix_micros(' ~ later ~ ') - unix_micros(' ~ earlier ~ ')) / 1e6)') }}
{% endmacro %}
