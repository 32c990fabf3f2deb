{{ config(materialized='table_in_place') }}

with exposures as (

    -- Exposures without their identities: a few rows, so finding the last of them costs nothing.
    select
        environment, feature_id, variation, enabled, assignment_reason,
        feature_name, is_multivariate, value, value_type, percentage_allocation,
        min(first_exposed_at) as first_exposed_at,
        max({{ struct_of({'received_at': 'last_exposed_at', 'delivery_id': 'last_delivery_id'}) }}) as last_exposure
    from {{ ref('fct_flag_exposures') }}
    group by all

),

people as (

    select environment, feature_id, count(distinct identity) as identities
    from {{ ref('fct_flag_exposures') }}
    group by all

),

environments as (

    select
        environment,
        {{ plus_hours('last_received_at', -24 * (var('stale_flag_days') | int)) }} as window_from
    from {{ ref('int_environments') }}

),

hidden_features as (

    -- Features that some calls leave out: absent from one evaluation of an identity, and present in a later one.
    select distinct environment, feature_id
    from {{ ref('int_flag_absences') }}
    where absent_to is not null

),

last_sightings as (

    select
        exposures.environment,
        exposures.feature_id,
        hidden_features.feature_id is not null as is_hidden_at_times,
        max(exposures.last_exposure.received_at) as last_seen_at
    from exposures
    left join hidden_features
        on exposures.environment = hidden_features.environment and exposures.feature_id = hidden_features.feature_id
    group by all

),

gone as (

    -- Later evaluations carried other flags but not this one. If some calls leave the feature out, only calls that
    -- showed another such feature count; the others would not have shown it anyway.
    select distinct missing.environment, missing.feature_id
    from last_sightings as missing
    inner join last_sightings as present
        on
            missing.environment = present.environment
            and missing.last_seen_at < present.last_seen_at
            and (present.is_hidden_at_times or not missing.is_hidden_at_times)
    inner join (
        select distinct environment, feature_id
        from {{ ref('int_flag_absences') }}
        where absent_to is null
    ) as absences
        on missing.environment = absences.environment and missing.feature_id = absences.feature_id

),

ambiguous_variations as (

    select environment, feature_id, {{ distinct_list('variation') }} as ambiguous_variations
    from {{ ref('int_ambiguous_variations') }}
    group by all

)

select
    exposures.environment,
    exposures.feature_id,

    max_by(exposures.feature_name, exposures.last_exposure) as name,
    case when max_by(exposures.is_multivariate, exposures.last_exposure) then 'MULTIVARIATE' else 'STANDARD' end as type,
    -- The last default says whether the flag is off; the last control says which value it gives. So a flag that was off and
    -- is on again counts as on.
    case
        when not max_by(exposures.enabled, exposures.last_exposure) filter (where exposures.assignment_reason = 'environment_default')
            then 'off'
        when max_by(exposures.is_multivariate, exposures.last_exposure)
            then max_by(coalesce(exposures.value, 'on'), exposures.last_exposure) filter (
                where exposures.assignment_reason = 'environment_default'
                and exposures.is_multivariate
                and exposures.enabled
                and exposures.variation = 'control'
            )
        else max_by(exposures.variation, exposures.last_exposure) filter (where exposures.assignment_reason = 'environment_default')
    end as current_default,
    {{ distinct_list('exposures.variation') }} as variations,
    coalesce(any_value(ambiguous_variations.ambiguous_variations), {{ list_of([]) }}) as ambiguous_variations,
    any_value(people.identities) as identities,
    min(exposures.first_exposed_at) < any_value(environments.window_from)
    and count(distinct exposures.variation) filter (where exposures.last_exposure.received_at >= environments.window_from) = 1 as is_stale,
    any_value(gone.feature_id) is not null as is_gone,

    min(exposures.first_exposed_at) as first_seen_at,
    max(exposures.last_exposure.received_at) as last_seen_at
from exposures
inner join environments on exposures.environment = environments.environment
inner join people on exposures.environment = people.environment and exposures.feature_id = people.feature_id
left join ambiguous_variations
    on exposures.environment = ambiguous_variations.environment and exposures.feature_id = ambiguous_variations.feature_id
left join gone on exposures.environment = gone.environment and exposures.feature_id = gone.feature_id
group by exposures.environment, exposures.feature_id
