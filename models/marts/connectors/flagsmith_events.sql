{{ config(materialized='view') }}

-- The traits as they were when the exposure began: once for all flags that an identity was given at that moment. Flag by
-- flag, 1.5 million assignments took four minutes, and more memory than publishing may take.
with moments as (

    select distinct environment, identity, valid_from
    from {{ ref('fct_flag_assignments') }}
    where enabled

),

traits as (

    select
        moments.environment,
        moments.identity,
        moments.valid_from,
        {{ json_object_of('traits.trait_key', 'traits.value_text', 'traits.value_type') }} as traits
    from moments
    inner join {{ ref('fct_identity_traits') }} as traits
        on
            moments.environment = traits.environment
            and moments.identity = traits.identity
            and moments.valid_from >= traits.valid_from
            and (moments.valid_from < traits.valid_to or traits.valid_to is null)
    group by all

)

select
    assignments.environment as environment_key,
    '$flag_exposure' as event,
    assignments.feature_name,
    assignments.valid_from as timestamp,
    assignments.valid_from as collected_at,
    coalesce(identity_map.user_id, assignments.identity) as identifier,
    assignments.variation as value,
    coalesce(traits.traits, '{}') as traits,
    '{"assignment_reason": "' || assignments.assignment_reason || '", "change_reason": "' || assignments.change_reason || '"}' as metadata,
    'flagsmith-warehouse' as sdk_language,
    cast(null as varchar) as sdk_version
from {{ ref('fct_flag_assignments') }} as assignments
left join traits
    on
        assignments.environment = traits.environment
        and assignments.identity = traits.identity
        and assignments.valid_from = traits.valid_from
left join {{ ref('int_declared_identity_map') }} as identity_map on assignments.identity = identity_map.identity
where assignments.enabled
