{#- The regularised incomplete beta function I_x(a, b) for a, b > 0, as steps of common table expressions: reads `relation`, keeps its
    columns, ends in `name` with the answer as the column `into`. `complement` is 1 − x as the caller knows it (near x = 1
    the subtraction would lose it). Null where an argument is null or a, b are not positive.

    Method: the integrand at the boundary (Loader's form of the beta density) times the integral of the integrand relative to
    it, outwards over whichever tail is the smaller, by tail_quadrature.
    Measured against mpmath and scipy.special.betainc: see tests/statistics/test_functions.py. The t distribution does
    not go through here: at b = ½ student_t is cheaper and keeps more digits. -#}
{% macro incomplete_beta(relation, x, complement, a, b, into, name) %}
    {%- set p = into ~ '__' -%}
    {{ name }}_swapped as (
        select *,
            {{ x }} * {{ b }} > {{ complement }} * {{ a }} as {{ p }}swapped,
            cast(case when {{ x }} * {{ b }} > {{ complement }} * {{ a }} then {{ complement }} else {{ x }} end as double) as {{ p }}x,
            cast(case when {{ x }} * {{ b }} > {{ complement }} * {{ a }} then {{ x }} else {{ complement }} end as double) as {{ p }}y,
            cast(case when {{ x }} * {{ b }} > {{ complement }} * {{ a }} then {{ b }} else {{ a }} end as double) as {{ p }}a,
            cast(case when {{ x }} * {{ b }} > {{ complement }} * {{ a }} then {{ a }} else {{ b }} end as double) as {{ p }}b
        from {{ relation }}
        {# the condition is spelt out: portable SQL has no alias of the same select #}
    ),

    {{ name }}_scale as (
        select *,
            {{ p }}a + {{ p }}b as {{ p }}n,
            {{ p }}x * {{ p }}b - {{ p }}y * {{ p }}a as {{ p }}off,
            case when {{ p }}a > 0 and {{ p }}b > 0 and {{ p }}x > 0 then
                2 / (
                    greatest({{ p }}a - ({{ p }}b - 1) * {{ p }}x / {{ p }}y, 0)
                    + sqrt(greatest(({{ p }}b - 1) * {{ p }}x, 0)) / {{ p }}y
                )
            end as {{ p }}s
        from {{ name }}_swapped
    ),

    {{ name }}_boundary as (
        select *,
            case when {{ p }}s is not null then
                sqrt({{ p }}a * {{ p }}b / {{ p }}n / 6.283185307179586e0) / {{ p }}y
                * exp(({{ flagsmith_warehouse.stirling_error(p ~ 'n') }})
                      - ({{ flagsmith_warehouse.stirling_error(p ~ 'a') }})
                      - ({{ flagsmith_warehouse.stirling_error(p ~ 'b') }})
                      - {{ p }}a * ({{ flagsmith_warehouse.log_deficit('(' ~ p ~ 'off / ' ~ p ~ 'a)', '(' ~ p ~ 'x * ' ~ p ~ 'n / ' ~ p ~ 'a)') }})
                      - {{ p }}b * ({{ flagsmith_warehouse.log_deficit('(-' ~ p ~ 'off / ' ~ p ~ 'b)', '(' ~ p ~ 'y * ' ~ p ~ 'n / ' ~ p ~ 'b)') }}))
                * {{ p }}s
            end as {{ p }}boundary
        from {{ name }}_scale
    ),

    {{ name }}_lesser as (
        select *,
            case when {{ p }}x = 0 then 0 else {{ p }}boundary * (0
            {%- for node, weight in flagsmith_warehouse.tail_quadrature() %}
                {%- set fall = '(' ~ p ~ 'x / ' ~ p ~ 'y * -(' ~ flagsmith_warehouse.exp_minus_one('(-' ~ p ~ 's * ' ~ node ~ ')') ~ '))' %}
                + {{ weight }} * exp(({{ p }}b - 1) * ({{ flagsmith_warehouse.log_of_one_plus(fall) }}) - {{ p }}a * {{ p }}s * {{ node }})
            {%- endfor %}) end as {{ p }}lesser
        from {{ name }}_boundary
    ),

    {{ name }} as (
        select *, case when {{ p }}swapped then 1 - {{ p }}lesser else {{ p }}lesser end as {{ into }}
        from {{ name }}_lesser
    )
{%- endmacro %}
