{{ config(materialized='view_in_place') }}

{%- set keys_by_environment = [] -%}
{%- for environment, its in (var('flagsmith_environments', {}) or {}).items() if its.get('key') is not none -%}
    {%- do keys_by_environment.append('when ' ~ text_literal(environment | string) ~ ' then ' ~ text_literal(its['key'] | string)) -%}
{%- endfor %}

with declared_reasons as (

    select distinct flags.environment, flags.feature_id, experiments.assignment_reason
    from {{ ref('int_declared_experiments') }} as experiments
    inner join {{ ref('dim_flags') }} as flags
        on experiments.environment = flags.environment and experiments.feature_name = flags.name
    where experiments.problem is null

),

splits as (

    -- Without a declared experiment, the reasons that gave different people different variations. In a rollout this is
    -- the segment override, not the default around it, which gives everybody control.
    select environment, feature_id, assignment_reason
    from {{ ref('fct_flag_assignments') }}
    where enabled and is_multivariate and assignment_reason <> 'identity_override'
    group by environment, feature_id, assignment_reason
    having count(distinct variation) > 1

),

experiment_reasons as (

    select environment, feature_id, assignment_reason from declared_reasons
    union all
    select splits.environment, splits.feature_id, splits.assignment_reason
    from splits
    where (splits.environment, splits.feature_id) not in (select environment, feature_id from declared_reasons)

),

exposures as (

    select
        assignments.environment, assignments.identity, assignments.feature_id, assignments.feature_name,
        assignments.assignment_reason, assignments.change_reason, assignments.valid_from,
        case
            when assignments.is_multivariate and assignments.variation = 'control' then 'control'
            else coalesce(variants.variant_key, assignments.variation)
        end as variant
    from {{ ref('fct_flag_assignments') }} as assignments
    left join experiment_reasons as reasons
        on assignments.environment = reasons.environment and assignments.feature_id = reasons.feature_id
        and assignments.assignment_reason = reasons.assignment_reason
    left join {{ ref('int_declared_variants') }} as variants
        on assignments.feature_name = variants.feature_name and assignments.variation = variants.variation
    where
        assignments.enabled
        and (
            (assignments.is_multivariate and reasons.feature_id is not null)
            {%- if var('flagsmith_events_of_standard_flags', false) %}
            or not assignments.is_multivariate
            {%- endif %}
        )

),

preceded_exposures as (

    select *, lag(variant) over (partition by environment, identity, feature_id order by valid_from) as variant_before
    from exposures

),

changes as (

    -- Somebody who had the same variant before and after the flag was off was exposed to one variant, once.
    select *
    from preceded_exposures
    where variant_before is null or variant <> variant_before

),

-- The traits at the beginning of the exposure, computed once for all flags that an identity was given at that moment. Flag by
-- flag, 1.5 million assignments took four minutes, and more memory than publishing may use.
moments as (

    select distinct environment, identity, valid_from
    from changes

),

traits as (

    select
        moments.environment, moments.identity, moments.valid_from,
        {{ json_object_of('traits.trait_key', 'traits.value_text', 'traits.value_type') }} as traits
    from moments
    inner join {{ ref('fct_identity_traits') }} as traits
        on moments.environment = traits.environment and moments.identity = traits.identity
        and moments.valid_from >= traits.valid_from and (moments.valid_from < traits.valid_to or traits.valid_to is null)
    group by all

)

select
    {{ 'case changes.environment ' ~ keys_by_environment | join(' ') ~ ' else' if keys_by_environment }} changes.environment
    {{ 'end' if keys_by_environment }} as environment_key,
    {{ text_literal(exposure_event()) }} as event,
    changes.feature_name,
    {{ zoned_timestamp('changes.valid_from') }} as timestamp,
    {{ zoned_timestamp('changes.valid_from') }} as collected_at,
    coalesce(users.user_id, changes.identity) as identifier,
    changes.variant as value,
    coalesce(traits.traits, '{}') as traits,
    '{"assignment_reason": "' || changes.assignment_reason || '", "change_reason": "' || changes.change_reason || '"}' as metadata,
    'flagsmith-warehouse' as sdk_language,
    cast(null as string) as sdk_version
from changes
left join traits
    on changes.environment = traits.environment and changes.identity = traits.identity and changes.valid_from = traits.valid_from
left join {{ ref('int_declared_identity_map') }} as users on changes.identity = users.identity
