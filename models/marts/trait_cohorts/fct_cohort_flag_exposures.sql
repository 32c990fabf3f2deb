{{ config(materialized='table') }}

with sightings as (

    -- The sets of flags that an identity got while it was a member. Membership counts at the time of the evaluation,
    -- not now.
    select
        memberships.environment,
        memberships.cohort_key,
        memberships.identity,
        deliveries.flags_hash,
        min(deliveries.received_at) as first_exposed_at,
        max({{ struct_of({'received_at': 'deliveries.received_at', 'delivery_id': 'deliveries.delivery_id'}) }}) as last_exposure
    from {{ ref('fct_cohort_memberships') }} as memberships
    inner join {{ ref('int_deliveries') }} as deliveries
        on
            memberships.environment = deliveries.environment
            and memberships.identity = deliveries.identity
            and memberships.entered_at <= deliveries.received_at
            and (memberships.left_at > deliveries.received_at or memberships.left_at is null)
    where
        deliveries.kind = 'evaluation'
        and not deliveries.is_test_identity
        and deliveries.flags_hash is not null
    group by all

),

exposures as (

    select
        sightings.environment,
        sightings.cohort_key,
        elements.feature_id,
        elements.variation,
        sightings.identity,
        max_by(elements.feature_name, sightings.last_exposure) as feature_name,
        min(sightings.first_exposed_at) as first_exposed_at,
        max(sightings.last_exposure) as last_exposure
    from sightings
    inner join {{ ref('int_flag_set_elements') }} as elements on sightings.flags_hash = elements.flags_hash
    group by all

),

exposed as (

    -- The share's denominator: members exposed to the feature, whatever the variation.
    select
        environment,
        cohort_key,
        feature_id,
        count(distinct identity) as identities
    from exposures
    group by all

)

select
    exposures.environment,
    exposures.cohort_key,
    exposures.feature_id,
    exposures.variation,

    max_by(exposures.feature_name, exposures.last_exposure) as feature_name,
    count(*) as identities,
    count(*) / cast(any_value(exposed.identities) as double) as share,

    min(exposures.first_exposed_at) as first_exposed_at,
    max(exposures.last_exposure.received_at) as last_exposed_at
from exposures
inner join exposed
    on
        exposures.environment = exposed.environment
        and exposures.cohort_key = exposed.cohort_key
        and exposures.feature_id = exposed.feature_id
group by exposures.environment, exposures.cohort_key, exposures.feature_id, exposures.variation
