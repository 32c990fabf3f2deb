{{ config(materialized='table_in_place') }}

select
    experiment_key,
    metric_key,
    variation,
    population,
    day,

    role,
    status,
    cuped_status,

    identities_assigned as identities,
    identities as identities_matured,
    control_identities_assigned as control_identities,
    outcome_sum,
    outcome_sum_squares,
    denominator_sum,
    denominator_sum_squares,
    outcome_denominator_products,
    before_sum,
    before_sum_squares,
    outcome_before_products,
    mean,
    control_mean,
    cuped_theta,
    {%- for column in result_columns() %}
    {{ column }},
    {%- endfor %}

    flagsmith_status,
    flagsmith_lift,
    flagsmith_standard_error,
    flagsmith_low,
    flagsmith_high,
    flagsmith_chance_to_win
from {{ ref('int_experiment_series') }}
where dimension is null
