{#- An expression: m − ln(1 + m) for m > −1, without the cancellation near 0; `ratio` is 1 + m as the caller knows
    it (for m near −1 it has the digits that 1 + m has lost). Both are repeated.
    Source: as rlog1 of ACM TOMS 708, here by the series of the inverse hyperbolic tangent of m / (2 + m). -#}
{% macro log_deficit(m, ratio) %}
    {%- set r = '(' ~ m ~ ' / (2 + ' ~ m ~ '))' -%}
    {%- set coefficients = [] -%}
    {%- for k in range(18, 0, -1) -%}{%- do coefficients.append(1 / (2 * k + 1)) -%}{%- endfor -%}
    case
        when abs({{ m }}) < 0.5e0
        then {{ m }} * {{ r }} - 2 * {{ r }} * {{ r }} * {{ r }} * {{ flagsmith_warehouse.polynomial('(' ~ r ~ ' * ' ~ r ~ ')', coefficients) }}
        else {{ m }} - ln({{ ratio }})
    end
{%- endmacro %}
