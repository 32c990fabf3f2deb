{#- The nearest double of a number's text, infinite where it is beyond all of them. -#}
{% macro double_of(text) %}{{ return(adapter.dispatch('double_of', 'flagsmith_warehouse')(text)) }}{% endmacro %}

{% macro default__double_of(text) %}{{ refuse_engine('double_of', 'number') }}{% endmacro %}

{% macro duckdb__double_of(text) %}{{ return('try_cast(' ~ text ~ ' as double)') }}{% endmacro %}


{#- A double as Python's repr writes it: 12.0, 1e-07, -0.0, inf. -#}
{% macro text_of_double(number) %}{{ return(adapter.dispatch('text_of_double', 'flagsmith_warehouse')(number)) }}{% endmacro %}

{% macro default__text_of_double(number) %}{{ refuse_engine('text_of_double', 'number') }}{% endmacro %}

{% macro duckdb__text_of_double(number) %}{{ return('cast(' ~ number ~ ' as varchar)') }}{% endmacro %}


{#- Python's `%` of two doubles: what C's fmod leaves, moved to the sign of the divisor. -#}
{% macro float_remainder(number, divisor) %}{{ return(adapter.dispatch('float_remainder', 'flagsmith_warehouse')(number, divisor)) }}{% endmacro %}

{% macro default__float_remainder(number, divisor) %}{{ refuse_engine('float_remainder', 'number') }}{% endmacro %}

{% macro duckdb__float_remainder(number, divisor) %}
    {%- set rest = number ~ ' % ' ~ divisor -%}
    {{ return('(' ~ rest ~ ' + case when ' ~ rest ~ ' <> 0 and (' ~ rest ~ ' < 0) <> (' ~ divisor ~ ' < 0) then ' ~ divisor ~ ' else 0 end)') }}
{% endmacro %}


{#- The text of a whole number without leading zeros and without the sign of zero. -#}
{% macro integer_text(text) %}{{ return(adapter.dispatch('integer_text', 'flagsmith_warehouse')(text)) }}{% endmacro %}

{% macro default__integer_text(text) %}{{ refuse_engine('integer_text', 'number') }}{% endmacro %}

{% macro duckdb__integer_text(text) %}
    {{ return("regexp_replace(regexp_replace(" ~ text ~ ", '^(-?)0+([0-9])', '\\1\\2'), '^-0$', '0')") }}
{% endmacro %}
