{{ config(materialized='table_in_place') }}

select
    experiment_key,
    variation,

    count(*) as identities,
    count(*) filter (where is_quarantined) as quarantined,
    count(*) filter (where quarantine_reason = 'other_identity') as in_several_variations,
    count(*) filter (where activated_at is not null) as activated,
    count(*) filter (where {{ looks_hashed('first_identity') }}) as hashed
from {{ ref('int_experiment_assignments') }}
group by experiment_key, variation
