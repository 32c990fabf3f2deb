{#- The value of Python's int() for a text. It accepts more than digits (' 1_000 ', digits of other scripts). None for an error. -#}
{% macro python_int(text) %}
    {{ return(text | int if text is string and modules.re.fullmatch('\\s*[-+]?\\d(?:_?\\d)*\\s*', text) else none) }}
{% endmacro %}


{#- The value of Python's float() for a text (including `inf`, `nan` and ' 1e3 '). None for an error. -#}
{% macro python_float(text) %}
    {{ return(text | float(none) if text is string else none) }}
{% endmacro %}


{#- An exact literal of a double: every engine reads Python's shortest spelling as the same number. -#}
{% macro double_literal(number) %}
    {{ return("cast('" ~ number ~ "' as double)") }}
{% endmacro %}


{#- The greatest number from 0 to 9998 that is still inside a PERCENTAGE_SPLIT, -1 for none. Flagsmith compares
    percentages of 9998. We compare the whole numbers behind them, so the arithmetic of the engine does not matter. -#}
{% macro last_inside(condition) %}
    {%- set percentage = flagsmith_warehouse.python_float(condition.value) -%}
    {%- if percentage is none or not percentage >= 0 -%}
        {%- do flagsmith_warehouse.warn_rule(condition, 'has the value ' ~ tojson(condition.value) ~ ' instead of a percentage') -%}
        {{ return(-1) }}
    {%- elif percentage >= 100 -%}
        {{ return(9998) }}
    {%- endif -%}
    {%- set guess = (percentage * 9998 / 100) | int -%}
    {%- set inside = [] -%}
    {%- for number in range([guess - 2, 0] | max, guess + 3) if number / 9998 * 100 <= percentage -%}
        {%- do inside.append(number) -%}
    {%- endfor -%}
    {{ return(inside[-1]) }}
{% endmacro %}
