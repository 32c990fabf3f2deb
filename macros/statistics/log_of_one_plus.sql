{#- An expression: ln(1 + q) for q > −1, to the last digits where q is tiny and 1 + q has rounded it away. `q` is repeated.
    Source: W. Kahan's correction, as in the HP-15C Advanced Functions Handbook (1982), appendix. -#}
{% macro log_of_one_plus(q) -%}
    coalesce(ln(1e0 + {{ q }}) * {{ q }} / nullif((1e0 + {{ q }}) - 1e0, 0), {{ q }})
{%- endmacro %}
