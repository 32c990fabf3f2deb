{#- Student's t distribution for any real degrees of freedom, as steps of common table expressions.

    A function that needs its intermediate results many times cannot be one expression without becoming megabytes
    of SQL, so these two yield a chain of common table expressions, to be put between two commas of a `with`.
    Each reads `relation`, keeps its columns, and ends in `name`, which has the answer as the column `into`
    (and helper columns whose names begin with `into` and two underscores).

    Method. With a = ν/2, L = ln(1 + t²/ν) and I(a) = P(|T| > |t|), the regularised incomplete beta function
    I_x(a, ½) at x = e^−L:
      1. twenty terms of the recurrence I(a) = x^a √(1−x) / (a B(a, ½)) + I(a + 1)   (DLMF 8.17.20);
      2. the remainder, a + 20 being large, by the expansion in incomplete gamma functions of a and small b
         (A. R. DiDonato and A. H. Morris, "Significant digit computation of the incomplete beta function
         ratios", ACM TOMS 18 (1992), BGRAT), which at b = ½ is the normal tail and four corrections, all constant;
      3. B(a, ½) by the same expansion at t = 0, so that no gamma function is needed.
    Every term of the sums is positive or tiny: nothing cancels, in the centre or in the tail.

    Measured against scipy.stats.t, 1 <= ν <= 1e12, |t| <= 100, probabilities down to 1e-300: see
    tests/statistics/test_functions.py; 2.6e-13 relative at worst (in the far tail, where e^−aL has lost the digits of
    its exponent). Quantiles: 1.3e-12 relative for 1e-300 <= p <= 0.4999; nearer to ½ the quantile goes to 0 and the
    relative error grows as 1e-16 / |p − ½|, the absolute error does not. |t| is cut at 1e100. -#}

{#- The lower tail P(T <= t): exact to the last digits where t is negative, so a two-sided p-value is twice the answer
    at −|t|. Null where t or the degrees of freedom are null or the latter are not positive. -#}
{% macro student_t_cdf(relation, statistic, degrees_of_freedom, into, name) %}
    {%- set p = into ~ '__' -%}
    {{ flagsmith_warehouse.student_t_constants(relation, degrees_of_freedom, p, name ~ '_constants') }},

    {{ name }}_distance as (
        select *, {{ flagsmith_warehouse.log_of_one_plus(p ~ 'squared_ratio') }} as {{ p }}distance
        from (
            select *,
                least(abs({{ statistic }}), 1e100) * least(abs({{ statistic }}), 1e100)
                    / (2 * {{ p }}half) as {{ p }}squared_ratio
            from {{ name }}_constants
        ) as {{ name }}_ratio
    ),

    {{ flagsmith_warehouse.student_t_two_sided(name ~ '_distance', p, name ~ '_two_sided') }},

    {{ name }} as (
        select *,
            case when {{ statistic }} <= 0 then {{ p }}outside / 2 else 1 - {{ p }}outside / 2 end as {{ into }}
        from {{ name }}_two_sided
    )
{% endmacro %}

{#- The t with P(T <= t) = p, for 0 < p < 1 and ν >= 1; the upper quantile is minus the lower one at 1 − p.
    Three steps of Halley's method on the logarithm of the two-sided tail, in s = √L, from the normal quantile (or, far
    out, from the leading power of the tail). Null where p is null or outside (0, 1), or ν is null or not positive. -#}
{% macro student_t_quantile(relation, probability, degrees_of_freedom, into, name) %}
    {%- set p = into ~ '__' -%}
    {{ flagsmith_warehouse.student_t_constants(relation, degrees_of_freedom, p, name ~ '_constants') }},

    {{ name }}_normal as (
        select *,
            -{{ flagsmith_warehouse.normal_quantile(p ~ 'one_sided') }} / sqrt(2 * {{ p }}shifted) as {{ p }}from_normal,
            -ln({{ p }}one_sided * 2 / {{ p }}scale) / {{ p }}half as {{ p }}from_tail
        from (
            select *,
                case
                    when {{ probability }} > 0 and {{ probability }} < 1
                    then least({{ probability }}, 1 - {{ probability }})
                end as {{ p }}one_sided
            from {{ name }}_constants
        ) as {{ name }}_one_sided
    ),

    {{ name }}_0 as (
        select *,
            case
                when {{ p }}one_sided is null or {{ p }}half is null then null
                when {{ p }}from_tail > 1.5e0 then sqrt({{ p }}from_tail) else greatest({{ p }}from_normal, 1e-20)
            end as {{ p }}root_0
        from {{ name }}_normal
    ),
    {% for step in range(3) %}
    {{ flagsmith_warehouse.student_t_halley(name ~ '_' ~ step, p, step, name ~ '_' ~ (step + 1)) }},
    {% endfor %}
    {{ name }} as (
        select *,
            case
                when {{ p }}root_3 is null then null
                when {{ probability }} < 0.5e0 then -1
                when {{ probability }} = 0.5e0 then 0
                else 1
            end
                * sqrt(2 * {{ p }}half * {{ flagsmith_warehouse.exp_minus_one('least(' ~ p ~ 'root_3 * ' ~ p ~ 'root_3, 7e2)') }})
                as {{ into }}
        from {{ name }}_3
    )
{% endmacro %}

{#- One step towards the quantile: root_<step> → root_<step + 1>. -#}
{% macro student_t_halley(relation, p, step, name) %}
    {%- set root = p ~ 'root_' ~ step -%}
    {%- set q = p ~ step ~ '_' -%}
    {{ name }}_distance as (
        select *, {{ root }} * {{ root }} as {{ q }}distance from {{ relation }}
    ),

    {{ flagsmith_warehouse.student_t_two_sided(name ~ '_distance', p, name ~ '_two_sided', q) }},

    {{ name }}_slope as (
        select *,
            ln({{ q }}outside / (2 * {{ p }}one_sided)) as {{ q }}miss,
            2 * {{ root }} * exp(-{{ p }}half * {{ q }}distance) * {{ p }}half * {{ p }}scale
                / (sqrt({{ q }}complement) * {{ q }}outside) as {{ q }}slope
        from {{ name }}_two_sided
    ),

    {{ name }} as (
        select *,
            {{ root }} + {{ q }}miss / {{ q }}slope / (
                1 + {{ q }}miss / (2 * {{ q }}slope) * (
                    1 / {{ root }} - 2 * {{ p }}half * {{ root }}
                    - {{ root }} * exp(-{{ q }}distance) / {{ q }}complement + {{ q }}slope
                )
            ) as {{ p }}root_{{ step + 1 }}
        from {{ name }}_slope
    )
{%- endmacro %}

{#- What depends on the degrees of freedom alone: half = a, shifted = a + 20 − ¼, inverse_square = 1 / shifted²,
    scale = 1 / (a B(a, ½)). -#}
{% macro student_t_constants(relation, degrees_of_freedom, p, name) %}
    {%- set r = p ~ 'inverse_square' -%}
    {{ name }}_shifted as (
        select *, {{ p }}half + 19.75e0 as {{ p }}shifted
        from (
            select *,
                case when {{ degrees_of_freedom }} > 0 then cast({{ degrees_of_freedom }} as double) / 2 end as {{ p }}half
            from {{ relation }}
        ) as {{ name }}_half
    ),

    {{ name }} as (
        select *,
            sqrt({{ p }}shifted / 3.141592653589793e0)
                / (1 + {{ flagsmith_warehouse.student_t_correction(r, 1) }})
                / ({{ p }}half + 19.5e0)
                {%- for term in range(19) %}
                * (({{ p }}half + {{ term + 1 }}e0) / ({{ p }}half + {{ term }}.5e0))
                {%- endfor %} as {{ p }}scale
        from (select *, 1 / ({{ p }}shifted * {{ p }}shifted) as {{ r }} from {{ name }}_shifted) as {{ name }}_inverse
    )
{%- endmacro %}

{#- P(|T| > t) as the column <q>outside, from <q>distance = L and the constants; <q>complement = 1 − e^−L. -#}
{% macro student_t_two_sided(relation, p, name, q=none) %}
    {%- set q = q or p -%}
    {%- set L = q ~ 'distance' -%}
    {%- set z = '(' ~ p ~ 'shifted * ' ~ L ~ ')' -%}
    {%- set x = q ~ 'ratio' -%}
    {%- set r = p ~ 'inverse_square' -%}
    {{ name }}_tail as (
        select *,
            {{ flagsmith_warehouse.normal_tail_scaled(q ~ 'deviate') }} as {{ q }}tail
        from (
            select *,
                exp(-{{ L }}) as {{ x }},
                -({{ flagsmith_warehouse.exp_minus_one('(-' ~ L ~ ')') }}) as {{ q }}complement,
                sqrt(2 * {{ z }}) as {{ q }}deviate
            from {{ relation }}
        ) as {{ name }}_deviate
    ),

    {{ name }} as (
        select *,
            exp(-least({{ z }}, 1e3)) * (
                2 * {{ q }}tail
                + {{ q }}deviate * 0.3989422804014326779e0 / (1 + {{ flagsmith_warehouse.student_t_correction(r, 1) }}) * (
                    (2e0 + {{ z }} * 4e0 / 3)
                    * {{ flagsmith_warehouse.student_t_correction(r, 1) }}
                    + {{ z }} * {{ z }} * ((8e0 / 15 + {{ z }} * 16e0 / 105)
                    * {{ flagsmith_warehouse.student_t_correction(r, 2) }}
                    + {{ z }} * {{ z }} * ((32e0 / 945 + {{ z }} * 64e0 / 10395)
                    * {{ flagsmith_warehouse.student_t_correction(r, 3) }}
                    + {{ z }} * {{ z }} * (128e0 / 135135 + {{ z }} * 256e0 / 2027025)
                    * {{ flagsmith_warehouse.student_t_correction(r, 4) }}))
                )
            )
            + sqrt({{ q }}complement) * exp(-{{ p }}half * {{ L }}) * {{ p }}scale * (1
            {%- for term in range(19) %} + {{ x }} * ({{ p }}half + {{ term }}.5e0) / ({{ p }}half + {{ term + 1 }}e0) * (1
            {%- endfor %}{{ ')' * 20 }} as {{ q }}outside
        from {{ name }}_tail
    )
{%- endmacro %}

{#- The corrections to the normal tail from the `first` on, in powers of r = 1 / shifted²: the coefficients of
    (sinh(s/2) / (s/2))^−½ times (½)(3/2)…(2n − ½). -#}
{% macro student_t_correction(r, first) %}
    {%- set coefficients = ['180323e0 / 134217728', '-671e0 / 524288', '21e0 / 8192', '-1e0 / 64'] -%}
    {%- set parts = namespace(sql='(' ~ coefficients[0] ~ ')') -%}
    {%- for coefficient in coefficients[1:5 - first] -%}
        {%- set parts.sql = '(' ~ parts.sql ~ ' * ' ~ r ~ ' + ' ~ coefficient ~ ')' -%}
    {%- endfor -%}
    {{- return('(' ~ parts.sql ~ (' * ' ~ r) * first ~ ')') -}}
{% endmacro %}
