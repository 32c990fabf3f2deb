{#- An expression: the polynomial with these coefficients, highest power first, by Horner's rule.
    `x` is repeated once a coefficient, so give a column, not a formula. -#}
{% macro polynomial(x, coefficients) %}
    {%- set parts = namespace(sql=flagsmith_warehouse.double(coefficients[0])) -%}
    {%- for coefficient in coefficients[1:] -%}
        {%- set parts.sql = '(' ~ parts.sql ~ ' * ' ~ x ~ ' + ' ~ flagsmith_warehouse.double(coefficient) ~ ')' -%}
    {%- endfor -%}
    {{- return(parts.sql) -}}
{% endmacro %}
