{#- An expression: Φ(x), the probability that a standard normal variable is at most x. `x` is a column (it is repeated).
    For the upper tail ask for Φ(−x): 1 − Φ(x) loses digits.
    Source: normal_tail_scaled (Cody 1969).
    Measured against scipy.special.ndtr on -37.5 <= x <= 37.5: 1.3e-13 relative (the rounding of x² in the far tail). -#}
{% macro normal_cdf(x) %}
    case
        when abs({{ x }}) <= 0.67448975e0
        then 0.5e0 + {{ x }} * {{ flagsmith_warehouse.normal_centre('(' ~ x ~ ')') }}
        when {{ x }} < 0
        then exp(-{{ x }} * {{ x }} / 2) * {{ flagsmith_warehouse.normal_tail_scaled('-' ~ x) }}
        else 1 - exp(-{{ x }} * {{ x }} / 2) * {{ flagsmith_warehouse.normal_tail_scaled(x) }}
    end
{%- endmacro %}
