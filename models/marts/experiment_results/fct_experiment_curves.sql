{{ config(materialized='table_in_place') }}

select
    experiment_key,
    metric_key,
    variation,
    population,
    cast(dimension_value as integer) as days_since_exposure,

    role,
    status,
    cuped_status,

    identities,
    control_identities,
    mean,
    control_mean,
    cuped_theta
    {%- for column in result_columns() %},
    {{ column }}
    {%- endfor %}
from {{ ref('int_experiment_series') }}
where dimension = 'days_since_exposure'
