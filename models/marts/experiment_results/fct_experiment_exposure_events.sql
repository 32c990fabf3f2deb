{{ config(materialized='table_in_place') }}

select
    experiment_key,
    identity,
    variant_key,

    variation,
    assigned_variation,

    first_occurred_at,
    last_occurred_at
from {{ ref('int_experiment_exposure_events') }}
