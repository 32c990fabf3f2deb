{{ config(materialized='table') }}

select
    experiment_key,
    identity,

    {{ content_hash(text_of(['experiment_key', 'identity'])) }} as identity_number,
    variation,
    is_quarantined,

    first_exposed_at,
    activated_at
from {{ ref('int_experiment_assignments') }}
