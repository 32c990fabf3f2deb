{{ config(materialized='table_in_place') }}

select
    experiment_key,
    identity,

    variation,
    epoch,
    is_quarantined,
    quarantine_reason,
    other_variation,

    first_exposed_at,
    contradicted_at,
    activated_at
from {{ ref('int_experiment_assignments') }}
