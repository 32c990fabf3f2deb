{#- A number as a literal of type double: engines read `0.5` as a decimal, and decimals round. -#}
{% macro double(number) %}
    {%- set text = number | string -%}
    {{- return(text if 'e' in text else text ~ 'e0') -}}
{% endmacro %}
