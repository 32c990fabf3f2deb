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

last_sightings as (

    select environment, feature_id, max(last_exposure.received_at) as last_seen_at
    from exposures
    group by all

),

hidden_features as (

    -- Features that only some calls contain: one call lacked the feature, and more than a minute later (by then all of
    -- Flagsmith's workers know of a change) another call had it.
    select distinct last_sightings.environment, last_sightings.feature_id
    from last_sightings
    inner join {{ ref('int_flag_absences') }} as absences
        on last_sightings.environment = absences.environment and last_sightings.feature_id = absences.feature_id
    where {{ plus_hours('absences.absent_from', spread_hours()) }} < last_sightings.last_seen_at

),

gone as (

    -- After its last sighting somebody who had been given the flag was evaluated without it. If some calls leave it out, only
    -- those that showed another such flag count; the others would not have shown it anyway.
    select distinct absences.environment, absences.feature_id
    from {{ ref('int_flag_absences') }} as absences
    inner join last_sightings
        on absences.environment = last_sightings.environment and absences.feature_id = last_sightings.feature_id
    left join hidden_features
        on absences.environment = hidden_features.environment and absences.feature_id = hidden_features.feature_id
    left join {{ ref('fct_flag_exposures') }} as later
        on
            absences.environment = later.environment
            and absences.identity = later.identity
            and last_sightings.last_seen_at < later.last_exposed_at
    left join hidden_features as shown
        on later.environment = shown.environment and later.feature_id = shown.feature_id
    where
        absences.absent_to is null
        and (shown.feature_id is not null or hidden_features.feature_id is null)
        and (later.feature_id is not null or last_sightings.last_seen_at < absences.absent_from)

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
    -- The last sighting of the default says whether the flag is off. If it is on, the default is the last value that belongs to
    -- no option: that of control, or one from a time when the feature had no options.
    case
        when not max_by(exposures.enabled, exposures.last_exposure) filter (where exposures.assignment_reason = 'environment_default')
            then 'off'
        else max_by(coalesce(exposures.value, 'on'), exposures.last_exposure) filter (
            where exposures.assignment_reason = 'environment_default'
            and exposures.enabled
            and (exposures.variation = 'control' or not exposures.is_multivariate)
        )
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
