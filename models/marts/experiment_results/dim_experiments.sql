{{ config(materialized='table_in_place') }}

select
    experiment_key,
    environment,
    feature_name,

    control_variation,
    assignment_reason,
    expected_weights,
    activation_event,
    alpha,
    decision_method,
    sequential_tuning,
    power,
    primary_population,

    status,
    problem,

    started_at,
    ended_at,
    last_received_at
from {{ ref('int_experiments') }}
