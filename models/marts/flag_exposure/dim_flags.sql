{{ config(materialized='table') }}

with exposures as (

    -- What was given, whoever it was given to: a few rows, so that finding the last of them costs nothing.
    select
        environment,
        feature_id,
        variation,
        enabled,
        assignment_reason,
        feature_name,
        is_multivariate,
        value,
        value_type,
        percentage_allocation,
        min(first_exposed_at) as first_exposed_at,
        max({'at': last_exposed_at, 'delivery_id': last_delivery_id}) as last_exposure
    from {{ ref('fct_flag_exposures') }}
    group by all

),

people as (

    select
        environment,
        feature_id,
        count(distinct identity) as identities
    from {{ ref('fct_flag_exposures') }}
    group by all

),

environments as (

    -- Hours, not deliveries: those of an environment that has fallen silent may all have been pruned.
    select
        environment,
        max(last_received_at) as last_received_at
    from {{ ref('fct_deliveries_hourly') }}
    group by environment

),

initial_values as (

    -- Read with the set of flags of an exposure, since only these carry the feature's initial value.
    select
        feature_id,
        value,
        default_value
    from {{ ref('int_flag_set_elements') }}
    where is_multivariate and percentage_allocation is not null and value = default_value
    group by all

),

ambiguous as (

    -- Where the value cannot tell which option it was: it is falsy, so that Flagsmith sends no percentage with it; or
    -- it has an option's percentage and is the control's value too. (That two options share a value does not show.)
    select distinct
        exposures.environment,
        exposures.feature_id,
        exposures.variation
    from exposures
    left join initial_values
        on exposures.feature_id = initial_values.feature_id and exposures.value = initial_values.value
    where
        exposures.is_multivariate
        and exposures.enabled
        and exposures.assignment_reason <> 'identity_override'
        and (
            (exposures.value_type in ('string', 'integer', 'boolean') and exposures.value in ('', '0', 'false') and exposures.percentage_allocation is null)
            or (initial_values.value is not null and exposures.percentage_allocation is not null)
        )

),

ambiguous_variations as (

    select
        environment,
        feature_id,
        list(variation order by variation) as ambiguous_variations
    from ambiguous
    group by all

)

select
    exposures.environment,
    exposures.feature_id,

    max_by(exposures.feature_name, exposures.last_exposure) as name,
    case
        when max_by(exposures.is_multivariate, exposures.last_exposure)
            then 'MULTIVARIATE'
        else 'STANDARD'
    end as type,
    max_by(
        case when exposures.is_multivariate and exposures.enabled then coalesce(exposures.value, 'on') else exposures.variation end,
        exposures.last_exposure
    ) filter (
        where exposures.assignment_reason = 'environment_default'
        and (not exposures.is_multivariate or exposures.variation in ('control', 'off'))
    ) as current_default,
    list(distinct exposures.variation order by exposures.variation) as variations,
    coalesce(any_value(ambiguous_variations.ambiguous_variations), []) as ambiguous_variations,
    any_value(people.identities) as identities,
    count(distinct exposures.variation) filter (
        where exposures.last_exposure.at
        >= environments.last_received_at - cast({{ var('stale_flag_days') }} as integer) * interval 1 day
    ) = 1 as is_stale,

    min(exposures.first_exposed_at) as first_seen_at,
    max(exposures.last_exposure.at) as last_seen_at
from exposures
inner join environments on exposures.environment = environments.environment
inner join people on exposures.environment = people.environment and exposures.feature_id = people.feature_id
left join ambiguous_variations
    on exposures.environment = ambiguous_variations.environment and exposures.feature_id = ambiguous_variations.feature_id
group by exposures.environment, exposures.feature_id
