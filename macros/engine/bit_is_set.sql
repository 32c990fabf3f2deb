{#- True where an integer column has the given bit (a power of two below 2^62). -#}
{% macro bit_is_set(column, bit) %}{{ return(adapter.dispatch('bit_is_set', 'flagsmith_warehouse')(column, bit)) }}{% endmacro %}

{% macro default__bit_is_set(column, bit) %}{{ refuse_engine('bit_is_set', 'bit_is_set') }}{% endmacro %}

{% macro duckdb__bit_is_set(column, bit) %}{{ return('((' ~ column ~ ' & ' ~ bit ~ ') <> 0)') }}{% endmacro %}
