{#- The upper tail P(χ² > x) for ν degrees of freedom (real, ν >= 1), as steps of common table expressions: reads `relation`, keeps
    its columns, ends in `name` with the answer as the column `into`. Null where an argument is null or ν not positive.

    Method: the incomplete gamma function at a = ν/2, x/2: its integrand at the boundary (Loader's form of the gamma density)
    times the integral of the integrand relative to it, outwards over whichever tail is the smaller, by tail_quadrature.
    The nodes are rows, and each pair of arguments is worked out once: written out as one sum, they were 45 kB of SQL, which
    took an engine 0.3 s to plan.
    Measured against scipy.stats.chi2, 1 <= ν <= 1000, probabilities down to 1e-290: 1e-12 relative; above that
    the rounding of the exponent shows (ν = 1e4, p < 1e-100: 6e-12), of no matter to a sample ratio. From about
    ν = 1e6 scipy itself is off by up to 1 % in the lower tail; there mpmath was the judge. -#}
{% macro chi_square_survival(relation, statistic, degrees_of_freedom, into, name) %}
    {%- set p = into ~ '__' -%}
    {%- set a = p ~ 'a' -%}
    {%- set x = p ~ 'x' -%}
    {{ name }}_arguments as (
        select distinct
            cast({{ degrees_of_freedom }} as double) / 2 as {{ a }},
            cast({{ statistic }} as double) / 2 as {{ x }}
        from {{ relation }}
        where {{ degrees_of_freedom }} > 0 and {{ statistic }} > 0
    ),

    {{ name }}_scale as (
        select *,
            {{ x }} > {{ a }} as {{ p }}upper,
            ({{ x }} - {{ a }}) / {{ a }} as {{ p }}excess,
            case
                when {{ x }} > {{ a }}
                then 2 / ({{ x }} - {{ a }} + 1 + sqrt(greatest({{ a }} - 1, 0)))
                else 2 / ({{ a }} - {{ x }} + sqrt({{ x }}))
            end as {{ p }}s
        from {{ name }}_arguments
    ),

    {{ name }}_boundary as (
        select *,
            sqrt({{ a }} / 6.283185307179586e0)
                * exp(-({{ flagsmith_warehouse.stirling_error(a) }})
                      - {{ a }} * {{ flagsmith_warehouse.log_deficit(p ~ 'excess', '(' ~ x ~ ' / ' ~ a ~ ')') }})
                * {{ p }}s as {{ p }}boundary
        from {{ name }}_scale
    ),

    {{ name }}_nodes as (
        select node, weight
        from (values
            {%- for node, weight in flagsmith_warehouse.tail_quadrature() %}
            ({{ flagsmith_warehouse.double(node) }}, {{ flagsmith_warehouse.double(weight) }}){{ ',' if not loop.last }}
            {%- endfor %}
        ) as nodes(node, weight)
    ),

    {{ name }}_outwards as (
        select {{ name }}_boundary.*, {{ p }}s * node as {{ p }}out, weight
        from {{ name }}_boundary
        cross join {{ name }}_nodes
    ),

    {{ name }}_tails as (
        select {{ a }}, {{ x }}, {{ p }}upper,
            {{ p }}boundary * sum(weight * exp(
                case when {{ p }}upper
                then ({{ a }} - 1) * {{ flagsmith_warehouse.log_of_one_plus(p ~ 'out') }} - {{ x }} * {{ p }}out
                else -{{ a }} * {{ p }}out - {{ x }} * {{ flagsmith_warehouse.exp_minus_one('(-' ~ p ~ 'out)') }}
                end
            )) as {{ p }}tail
        from {{ name }}_outwards
        group by {{ a }}, {{ x }}, {{ p }}upper, {{ p }}boundary
    ),

    {{ name }} as (
        select {{ relation }}.*,
            case
                when {{ statistic }} is null or not coalesce({{ degrees_of_freedom }} > 0, false) then null
                when not {{ statistic }} > 0 then 1e0
                when {{ p }}upper then {{ p }}tail
                else 1 - {{ p }}tail
            end as {{ into }}
        from {{ relation }}
        left join {{ name }}_tails
            on cast({{ degrees_of_freedom }} as double) / 2 = {{ a }} and cast({{ statistic }} as double) / 2 = {{ x }}
    )
{%- endmacro %}
