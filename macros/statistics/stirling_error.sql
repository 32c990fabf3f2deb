{#- An expression: δ(a) = ln Γ(a + 1) − (a + ½) ln a + a − ½ ln 2π for a > 0: what Stirling's formula leaves out. Below 15
    from δ(a + 15) by the recurrence. `a` is a column (it is repeated).
    Source: C. Loader, "Fast and accurate computation of binomial probabilities" (2000); DLMF 5.11.1. -#}
{% macro stirling_error(a) %}
    {%- set up = '(' ~ a ~ ' + 15e0)' -%}
    case
        when {{ a }} >= 15 then {{ flagsmith_warehouse.stirling_series(a) }}
        else {{ flagsmith_warehouse.stirling_series(up) }} + ({{ up }} + 0.5e0) * ln({{ up }}) - 15
            - ln({% for j in range(1, 16) %}({{ a }} + {{ j }}e0){{ ' * ' if not loop.last }}{% endfor %})
            - ({{ a }} + 0.5e0) * ln({{ a }})
    end
{%- endmacro %}

{% macro stirling_series(a) -%}
    ({{ flagsmith_warehouse.polynomial('(1e0 / ' ~ a ~ ' / ' ~ a ~ ')', [
        '6.410256410256410e-3', '-1.917526917526918e-3', '8.417508417508418e-4', '-5.952380952380952e-4',
        '7.936507936507937e-4', '-2.777777777777778e-3', '8.333333333333333e-2']) }} / {{ a }})
{%- endmacro %}
