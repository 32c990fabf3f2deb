{#- An expression: exp(q) − 1, to the last digits where q is tiny. `q` is repeated.
    Source: W. Kahan's correction, see log_of_one_plus. -#}
{% macro exp_minus_one(q) -%}
    coalesce((exp({{ q }}) - 1e0) * {{ q }} / nullif(ln(greatest(exp({{ q }}), 1e-300)), 0), {{ q }})
{%- endmacro %}
