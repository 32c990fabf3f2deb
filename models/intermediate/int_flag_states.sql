{{ config(materialized='table_in_place') }}

with sets_by_environment as (

    select environment, flags_hash
    from {{ ref('int_deliveries') }}
    where kind = 'evaluation' and not is_test_identity

    union

    -- Retention may have pruned the deliveries of these states.
    select environment, flags_hash
    from {{ ref('int_state_spells') }}

)

select distinct
    sets_by_environment.environment,
    elements.feature_id,
    elements.feature_name,
    elements.is_multivariate,
    elements.variation,
    elements.enabled,
    elements.value,
    elements.value_type,
    elements.percentage_allocation,
    elements.default_value
from sets_by_environment
inner join {{ ref('int_flag_set_elements') }} as elements on sets_by_environment.flags_hash = elements.flags_hash
where elements.quarantine_reason is null
