{{ config(materialized='table_in_place') }}

select
    experiment_key,
    metric_key,
    variation,
    population,

    status,
    adjustment,

    identities,
    target_lift,
    minimum_detectable_lift,
    days_so_far,
    days_left
from {{ ref('int_experiment_power') }}
