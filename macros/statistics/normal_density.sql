{#- An expression: the density of the standard normal distribution at x (a column, repeated once). -#}
{% macro normal_density(x) -%}
    (0.3989422804014326779e0 * exp(-{{ x }} * {{ x }} / 2))
{%- endmacro %}
