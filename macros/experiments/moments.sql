{#- An expression: the variance of n values from their sum and sum of squares, n − 1 in the denominator; of a proportion
    p(1 − p). 0 for fewer than two values. The order of the arithmetic is that of gbstats. -#}
{% macro sample_variance(sum, sum_squares, n, is_proportion) -%}
    case
        when {{ n }} = 0 then 0e0
        when {{ is_proportion }} then {{ sum }} / nullif({{ n }}, 0) * (1 - {{ sum }} / nullif({{ n }}, 0))
        when {{ n }} <= 1 then 0e0
        else ({{ sum_squares }} - {{ sum }} * {{ sum }} / nullif({{ n }}, 0)) / nullif({{ n }} - 1, 0)
    end
{%- endmacro %}

{#- An expression: the covariance of n pairs from their sums and the sum of their products. 0 for fewer than two. -#}
{% macro sample_covariance(sum, other_sum, products, n) -%}
    case
        when {{ n }} <= 1 then 0e0
        else ({{ products }} - {{ sum }} * {{ other_sum }} / nullif({{ n }}, 0)) / nullif({{ n }} - 1, 0)
    end
{%- endmacro %}

{#- An expression: half the width of the always-valid interval. Source: I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy
    and A. Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics 52
    (2024), equation 9 in the seventh version of the preprint, with rho chosen as in its equation 161. -#}
{% macro sequential_width() -%}
    sqrt(lift_variance * joint_n)
        * sqrt(
            2 * sequential_information
            * ln(sqrt(sequential_information) / alpha)
            / (joint_n * joint_n * rho_squared)
        )
{%- endmacro %}

{#- An aggregate: a variance or covariance over epochs, each with the column `weight`, scaled so that divided by all n
    identities it is that of the stratified mean. -#}
{% macro stratified(moment, n) -%}
    sum({{ n }}) * coalesce(sum(weight * weight * {{ moment }} / nullif({{ n }}, 0)), 0e0)
{%- endmacro %}
