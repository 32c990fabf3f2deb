{#- The upper tail P(χ² > x) for ν degrees of freedom (real, ν >= 1), as steps of common table expressions: reads `relation`, keeps
    its columns, ends in `name` with the answer as the column `into`. Null where an argument is null or ν not positive.

    Method: the incomplete gamma function at a = ν/2, x/2: its integrand at the boundary (Loader's form of the gamma density)
    times the integral of the integrand relative to it, outwards over whichever tail is the smaller, by tail_quadrature.
    Measured against scipy.stats.chi2, 1 <= ν <= 1000, probabilities down to 1e-290: 1e-12 relative; above that
    the rounding of the exponent shows (ν = 1e4, p < 1e-100: 6e-12), of no matter to a sample ratio. From about
    ν = 1e6 scipy itself is off by up to 1 % in the lower tail; there mpmath was the judge. -#}
{% macro chi_square_survival(relation, statistic, degrees_of_freedom, into, name) %}
    {%- set p = into ~ '__' -%}
    {%- set a = p ~ 'a' -%}
    {%- set x = p ~ 'x' -%}
    {{ name }}_arguments as (
        select *,
            case when {{ degrees_of_freedom }} > 0 then cast({{ degrees_of_freedom }} as double) / 2 end as {{ a }},
            cast({{ statistic }} as double) / 2 as {{ x }}
        from {{ relation }}
    ),

    {{ name }}_scale as (
        select *,
            {{ x }} > {{ a }} as {{ p }}upper,
            ({{ x }} - {{ a }}) / {{ a }} as {{ p }}excess,
            case
                when {{ x }} > {{ a }}
                then 2 / (greatest({{ x }} - {{ a }} + 1, 0) + sqrt(greatest({{ a }} - 1, 0)))
                when {{ x }} > 0 then 2 / ({{ a }} - {{ x }} + sqrt({{ x }}))
            end as {{ p }}s
        from {{ name }}_arguments
    ),

    {{ name }}_boundary as (
        select *,
            case when {{ x }} > 0 then
                sqrt({{ a }} / 6.283185307179586e0)
                * exp(-({{ flagsmith_warehouse.stirling_error(a) }})
                      - {{ a }} * {{ flagsmith_warehouse.log_deficit(p ~ 'excess', '(' ~ x ~ ' / ' ~ a ~ ')') }})
                * {{ p }}s
            end as {{ p }}boundary
        from {{ name }}_scale
    ),

    {{ name }} as (
        select *,
            case
                when {{ x }} is null or {{ a }} is null then null
                when not {{ x }} > 0 then 1e0
                when {{ p }}upper then {{ p }}boundary * (0
                {%- for node, weight in flagsmith_warehouse.tail_quadrature() %}
                    + {{ weight }} * exp(({{ a }} - 1) * ({{ flagsmith_warehouse.log_of_one_plus(p ~ 's * ' ~ node) }}) - {{ x }} * {{ p }}s * {{ node }})
                {%- endfor %})
                else 1 - {{ p }}boundary * (0
                {%- for node, weight in flagsmith_warehouse.tail_quadrature() %}
                    + {{ weight }} * exp(-{{ a }} * {{ p }}s * {{ node }} - {{ x }} * ({{ flagsmith_warehouse.exp_minus_one('(-' ~ p ~ 's * ' ~ node ~ ')') }}))
                {%- endfor %})
            end as {{ into }}
        from {{ name }}_boundary
    )
{%- endmacro %}
