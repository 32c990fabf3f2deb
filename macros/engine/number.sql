{#- The nearest double of a number's text, infinite where it is beyond all of them. -#}
{% macro double_of(text) %}{{ return(adapter.dispatch('double_of', 'flagsmith_warehouse')(text)) }}{% endmacro %}

{% macro default__double_of(text) %}{{ refuse_engine('double_of', 'number') }}{% endmacro %}

{% macro duckdb__double_of(text) %}{{ return('try_cast(' ~ text ~ ' as double)') }}{% endmacro %}

{#- Java reads `1d` and `1f` as numbers. -#}
{% macro spark__double_of(text) %}
    {{ return("try_cast(case when not rlike(" ~ text ~ ", '[0-9.][dDfF] *$') then " ~ text ~ ' end as double)') }}
{% endmacro %}


{#- A double as Python's repr writes it: 12.0, 1e-07, -0.0, inf. -#}
{% macro text_of_double(number) %}{{ return(adapter.dispatch('text_of_double', 'flagsmith_warehouse')(number)) }}{% endmacro %}

{% macro default__text_of_double(number) %}{{ refuse_engine('text_of_double', 'number') }}{% endmacro %}

{% macro duckdb__text_of_double(number) %}{{ return('cast(' ~ number ~ ' as varchar)') }}{% endmacro %}

{#- Java writes 1.0E-7 and 1.2345678E7, and its words for what is not finite. -#}
{% macro spark__text_of_double(number) %}
    {%- set text = 'cast(' ~ number ~ ' as string)' -%}
    {%- set power = "replace(regexp_replace(regexp_replace(" ~ text ~ ", '[.]0E', 'E'), 'E([0-9])', 'e+$1'), 'E-', 'e-')" -%}
    {%- set plain = "regexp_replace(cast(cast(" ~ text ~ " as decimal(38, 21)) as string), '([0-9])0+$', '$1')" -%}
    {{ return(
        'case when isnan(' ~ number ~ ") then 'nan' when abs(" ~ number ~ ") = double('infinity') then replace(" ~ text ~ ", 'Infinity', 'inf')"
        ~ ' when abs(' ~ number ~ ') >= 1e16 or abs(' ~ number ~ ') > 0 and abs(' ~ number ~ ') < 1e-4'
        ~ " then regexp_replace(" ~ power ~ ", 'e([+-])([0-9])$', 'e$10$2')"
        ~ ' when abs(' ~ number ~ ') >= 1e7 or abs(' ~ number ~ ') > 0 and abs(' ~ number ~ ') < 1e-3 then ' ~ plain
        ~ ' else ' ~ text ~ ' end'
    ) }}
{% endmacro %}


{#- Python's `%` of two doubles: what C's fmod leaves, moved to the sign of the divisor. -#}
{% macro float_remainder(number, divisor) %}{{ return(adapter.dispatch('float_remainder', 'flagsmith_warehouse')(number, divisor)) }}{% endmacro %}

{% macro default__float_remainder(number, divisor) %}{{ refuse_engine('float_remainder', 'number') }}{% endmacro %}

{% macro duckdb__float_remainder(number, divisor) %}
    {%- set rest = number ~ ' % ' ~ divisor -%}
    {{ return('(' ~ rest ~ ' + case when ' ~ rest ~ ' <> 0 and (' ~ rest ~ ' < 0) <> (' ~ divisor ~ ' < 0) then ' ~ divisor ~ ' else 0 end)') }}
{% endmacro %}

{% macro spark__float_remainder(number, divisor) %}{{ return(duckdb__float_remainder(number, divisor)) }}{% endmacro %}


{#- The text of a whole number without leading zeros and without the sign of zero. -#}
{% macro integer_text(text) %}{{ return(adapter.dispatch('integer_text', 'flagsmith_warehouse')(text)) }}{% endmacro %}

{% macro default__integer_text(text) %}{{ refuse_engine('integer_text', 'number') }}{% endmacro %}

{% macro duckdb__integer_text(text) %}
    {{ return("regexp_replace(regexp_replace(" ~ text ~ ", '^(-?)0+([0-9])', '\\1\\2'), '^-0$', '0')") }}
{% endmacro %}

{% macro spark__integer_text(text) %}
    {{ return("regexp_replace(regexp_replace(" ~ text ~ ", '^(-?)0+([0-9])', '$1$2'), '^-0$', '0')") }}
{% endmacro %}
