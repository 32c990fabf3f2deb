{#- True where an integer column has the given bit (a power of two below 2^62), or any of several (their sum). -#}
{% macro bit_is_set(column, bit) %}{{ return(adapter.dispatch('bit_is_set', 'flagsmith_warehouse')(column, bit)) }}{% endmacro %}

{% macro default__bit_is_set(column, bit) %}{{ refuse_engine('bit_is_set', 'bit_is_set') }}{% endmacro %}

{% macro duckdb__bit_is_set(column, bit) %}{{ return('((' ~ column ~ ' & ' ~ bit ~ ') <> 0)') }}{% endmacro %}

{% macro spark__bit_is_set(column, bit) %}{{ return('((' ~ column ~ ' & ' ~ bit ~ ') <> 0)') }}{% endmacro %}


{#- True where an integer column has all of the given bits (their sum). -#}
{% macro bits_are_set(column, bits) %}{{ return(adapter.dispatch('bits_are_set', 'flagsmith_warehouse')(column, bits)) }}{% endmacro %}

{% macro default__bits_are_set(column, bits) %}{{ refuse_engine('bits_are_set', 'bit_is_set') }}{% endmacro %}

{% macro duckdb__bits_are_set(column, bits) %}{{ return('((' ~ column ~ ' & ' ~ bits ~ ') = ' ~ bits ~ ')') }}{% endmacro %}

{% macro spark__bits_are_set(column, bits) %}{{ return('((' ~ column ~ ' & ' ~ bits ~ ') = ' ~ bits ~ ')') }}{% endmacro %}
