{{ config(materialized='table_in_place') }}

select
    environment,
    experiment_key,
    other_experiment_key,

    metric_key,
    status,

    identities,
    identities_matured,
    independence_status,
    p_value_independence,
    interaction,
    interaction_low,
    interaction_high,
    p_value_interaction
from {{ ref('int_experiment_overlap') }}
