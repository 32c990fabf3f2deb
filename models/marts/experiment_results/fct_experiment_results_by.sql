{{ config(materialized='table_in_place') }}

select
    experiment_key,
    metric_key,
    variation,
    population,
    dimension,
    dimension_value,

    role,
    status,
    cuped_status,

    identities_assigned as identities,
    identities as identities_matured,
    control_identities_assigned as control_identities,
    mean,
    control_mean,
    cuped_theta,

    p_value_interaction,
    values_left_out,
    p_value_benjamini_hochberg,
    comparisons
    {%- for column in result_columns() %},
    {{ column }}
    {%- endfor %}
from {{ ref('int_experiment_breakdowns') }}
