{{ config(materialized='table_in_place') }}

select
    experiment_key,
    metric_key,
    variation,
    population,
    day,
    dimension,
    dimension_value,

    cast(sum(identities_assigned) as bigint) as identities_assigned,
    cast(sum(identities) as bigint) as identities,
    sum(outcome_sum) as outcome_sum,
    sum(outcome_sum_squares) as outcome_sum_squares,
    sum(denominator_sum) as denominator_sum,
    sum(denominator_sum_squares) as denominator_sum_squares,
    sum(outcome_denominator_products) as outcome_denominator_products,
    sum(before_sum) as before_sum,
    sum(before_sum_squares) as before_sum_squares,
    sum(outcome_before_products) as outcome_before_products
from {{ ref('int_experiment_strata') }}
group by experiment_key, metric_key, variation, population, day, dimension, dimension_value
