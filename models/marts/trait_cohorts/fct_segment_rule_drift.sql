{{ config(materialized='table_in_place') }}

with mirrors as (

    select
        cohort_key,
        environment,
        mirrors_segment_id,
        mirrors_segment_name
    from {{ ref('dim_cohorts') }}

),

crowded as (

    -- Microseconds with more than one evaluation. There are few, and only these need sorting below.
    select received_at
    from {{ ref('int_deliveries') }}
    where kind = 'evaluation' and not is_test_identity
    group by received_at
    having count(*) > 1

),

superseded as (

    -- Of one identity's evaluations in the same microsecond only the one with the greatest delivery_id is a state.
    select delivery_id
    from (
        select
            delivery_id,
            row_number() over (partition by environment, identity, received_at order by delivery_id desc) as recency
        from {{ ref('int_deliveries') }}
        where
            kind = 'evaluation'
            and not is_test_identity
            and received_at in (select received_at from crowded)
    ) as of_one_microsecond
    where recency > 1

),

stated as (

    -- Flagsmith's answer for the mirrored segments, per delivery.
    select
        mirrors.cohort_key,
        deliveries.environment,
        deliveries.identity,
        deliveries.received_at,
        deliveries.delivery_id,
        segments.segment_id,
        segments.segment_name,
        segments.is_member as is_stated
    from {{ ref('int_deliveries') }} as deliveries
    inner join {{ ref('int_segment_set_elements') }} as segments on deliveries.segments_hash = segments.segments_hash
    inner join mirrors
        on
            (
                mirrors.mirrors_segment_id = segments.segment_id
                or mirrors.mirrors_segment_name = segments.segment_name
            )
            and coalesce(mirrors.environment, deliveries.environment) = deliveries.environment
    where
        deliveries.kind = 'evaluation'
        and not deliveries.is_test_identity
        and deliveries.delivery_id not in (select delivery_id from superseded)

),

compared as (

    select
        stated.*,
        memberships.identity is not null as is_by_rule
    from stated
    left join {{ ref('fct_cohort_memberships') }} as memberships
        on
            stated.environment = memberships.environment
            and stated.cohort_key = memberships.cohort_key
            and stated.identity = memberships.identity
            and stated.received_at >= memberships.entered_at
            and (stated.received_at < memberships.left_at or memberships.left_at is null)

)

select
    environment,
    cohort_key,
    segment_id,

    max_by(segment_name, {{ struct_of({'received_at': 'received_at', 'delivery_id': 'delivery_id'}) }}) as segment_name,
    count(*) as deliveries,
    count(*) filter (where is_stated = is_by_rule) as agreements,
    count(*) filter (where is_stated <> is_by_rule) as disagreements,
    count(*) filter (where is_stated and not is_by_rule) as stated_only,
    count(*) filter (where is_by_rule and not is_stated) as by_rule_only,
    count(*) filter (where is_stated = is_by_rule) / cast(count(*) as double) as agreement,
    count(distinct identity) filter (where is_stated <> is_by_rule) as disagreeing_identities,
    min(identity) filter (where is_stated and not is_by_rule) as example_stated_only,
    min(identity) filter (where is_by_rule and not is_stated) as example_by_rule_only,
    min_by(received_at, {{ struct_of({'identity': 'identity', 'received_at': 'received_at'}) }})
        filter (where is_stated and not is_by_rule) as example_stated_only_at,
    min_by(received_at, {{ struct_of({'identity': 'identity', 'received_at': 'received_at'}) }})
        filter (where is_by_rule and not is_stated) as example_by_rule_only_at,

    min(received_at) filter (where is_stated <> is_by_rule) as first_disagreement_at,
    max(received_at) filter (where is_stated <> is_by_rule) as last_disagreement_at
from compared
group by environment, cohort_key, segment_id
