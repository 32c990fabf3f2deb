{{ config(meta={'replaces': 'day'}) }}

with identity_days as (

    select
        deliveries.environment,
        deliveries.identity,
        cast(deliveries.received_at as date) as day,
        deliveries.flags_hash,
        count(*) as evaluations,
        max({{ struct_of({'received_at': 'deliveries.received_at', 'delivery_id': 'deliveries.delivery_id'}) }}) as last_evaluation
    from {{ changed('int_deliveries') }} as deliveries
    where deliveries.kind = 'evaluation' and not deliveries.is_test_identity and deliveries.flags_hash is not null
    group by all

),

several_sets as (

    -- Identities that got more than one set of flags in a day. Only these could be counted twice for one flag, so only
    -- these are counted one by one. For all others we only need the number of identities per set.
    select environment, identity, day
    from identity_days
    group by all
    having count(*) > 1

),

set_days as (

    select
        days.environment,
        days.day,
        days.flags_hash,
        count(*) filter (where several_sets.identity is null) as identities,
        sum(days.evaluations) as evaluations,
        max(days.last_evaluation) as last_evaluation
    from identity_days as days
    left join several_sets
        on
            days.environment = several_sets.environment
            and days.identity = several_sets.identity
            and days.day = several_sets.day
    group by all

),

counted_by_set as (

    select
        sets.environment,
        sets.day,
        elements.exposure_hash,
        any_value(elements.feature_id) as feature_id,
        sum(sets.identities) as identities,
        sum(sets.evaluations) as evaluations,
        max_by(sets.flags_hash, sets.last_evaluation) as flags_hash
    from set_days as sets
    inner join {{ ref('int_flag_set_elements') }} as elements on sets.flags_hash = elements.flags_hash
    group by sets.environment, sets.day, elements.exposure_hash

),

counted_one_by_one as (

    select environment, day, exposure_hash, count(*) as identities
    from (
        select distinct days.environment, days.day, days.identity, elements.exposure_hash
        from identity_days as days
        inner join several_sets
            on
                days.environment = several_sets.environment
                and days.identity = several_sets.identity
                and days.day = several_sets.day
        inner join {{ ref('int_flag_set_elements') }} as elements on days.flags_hash = elements.flags_hash
    ) as distinct_exposures
    group by all

),

new_identities as (

    select
        environment, feature_id, variation, enabled, assignment_reason,
        cast(first_exposed_at as date) as day,
        count(*) as new_identities
    from {{ changed('fct_flag_exposures', 'first_exposed_at') }} as exposures
    group by all

)

select
    counted.environment,
    counted.feature_id,
    elements.variation,
    elements.enabled,
    elements.assignment_reason,
    counted.day,

    elements.feature_name,
    cast(counted.identities + coalesce(one_by_one.identities, 0) as bigint) as identities,
    coalesce(new_identities.new_identities, 0) as new_identities,
    cast(counted.evaluations as bigint) as evaluations
from counted_by_set as counted
inner join {{ ref('int_flag_set_elements') }} as elements
    on counted.flags_hash = elements.flags_hash and counted.feature_id = elements.feature_id
left join counted_one_by_one as one_by_one
    on
        counted.environment = one_by_one.environment
        and counted.day = one_by_one.day
        and counted.exposure_hash = one_by_one.exposure_hash
left join new_identities
    on
        counted.environment = new_identities.environment
        and counted.feature_id = new_identities.feature_id
        and elements.variation = new_identities.variation
        and elements.enabled = new_identities.enabled
        and elements.assignment_reason = new_identities.assignment_reason
        and counted.day = new_identities.day
