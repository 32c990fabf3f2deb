{#- Seconds, with fractions, from one timestamp to a later one. -#}
{% macro seconds_between(earlier, later) %}{{ return(adapter.dispatch('seconds_between', 'flagsmith_warehouse')(earlier, later)) }}{% endmacro %}

{% macro default__seconds_between(earlier, later) %}{{ refuse_engine('seconds_between', 'seconds_between') }}{% endmacro %}

{% macro duckdb__seconds_between(earlier, later) %}{{ return('(epoch(' ~ later ~ ') - epoch(' ~ earlier ~ '))') }}{% endmacro %}

{% macro spark__seconds_between(earlier, later) %}
    {{ return('((unix_micros(' ~ later ~ ') - unix_micros(' ~ earlier ~ ')) / 1e6)') }}
{% endmacro %}
