{{ config(materialized='view_in_place') }}

select
    coalesce(identity_map.user_id, assignments.identity) as user_id,
    assignments.valid_from as timestamp,
    assignments.feature_name as experiment_id,
    assignments.variation as variation_id,
    assignments.environment,
    assignments.assignment_reason
from {{ ref('fct_flag_assignments') }} as assignments
left join {{ ref('int_declared_identity_map') }} as identity_map on assignments.identity = identity_map.identity
where assignments.is_multivariate and assignments.enabled
