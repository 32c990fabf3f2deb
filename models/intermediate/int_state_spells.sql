{{ config(meta={
    'replaces': 'state',
    'retention': {'states': true},
}) }}

with evaluations as (

    select
        deliveries.environment,
        deliveries.identity,
        deliveries.received_at,
        deliveries.delivery_id,
        deliveries.flags_hash,
        deliveries.segments_hash,
        deliveries.traits_hash
    from {{ changed('int_deliveries') }} as deliveries
    where deliveries.kind = 'evaluation' and not deliveries.is_test_identity

),

crowded as (

    -- Microseconds with more than one evaluation. There are few, and only these need sorting below.
    select received_at
    from evaluations
    group by received_at
    having count(*) > 1

),

sightings as (

    -- Of one identity's evaluations in the same microsecond only the one with the greatest delivery_id counts.
    select * from evaluations
    where received_at not in (select received_at from crowded)

    union all

    select * from evaluations
    where
        received_at in (select received_at from crowded)
        and delivery_id in (
            select max(delivery_id) from evaluations as of_one_microsecond
            where received_at in (select received_at from crowded)
            group by environment, identity, received_at
        )

),

compared as (

    select
        environment,
        identity,
        received_at,
        flags_hash,
        segments_hash,
        traits_hash,
        case
            when lag(received_at) over sightings_in_order is null then true
            when flags_hash is distinct from lag(flags_hash) over sightings_in_order then true
            when segments_hash is distinct from lag(segments_hash) over sightings_in_order then true
            when traits_hash is distinct from lag(traits_hash) over sightings_in_order then true
            else false
        end as is_beginning,
        count(flags_hash) over sightings_so_far as flag_evaluations
    from sightings
    window
        sightings_in_order as (partition by environment, identity order by received_at),
        sightings_so_far as (
            partition by environment, identity
            order by received_at
            rows between unbounded preceding and current row
        )

),

totals as (

    select
        environment,
        identity,
        count(flags_hash) as flag_evaluations
    from sightings
    group by all

),

beginnings as (

    -- A spell begins where the state differs from the sighting before. Silence is not an exit: Flagsmith speaks only
    -- when the identity is evaluated.
    select
        environment,
        identity,
        flags_hash,
        segments_hash,
        traits_hash,
        flag_evaluations - case when flags_hash is null then 0 else 1 end as earlier_flag_evaluations,
        received_at as valid_from
    from compared
    where is_beginning

),

untouched as (

    -- Evaluations before the first rebuilt spell, including those that retention has pruned.
    select
        known.environment,
        known.identity,
        max(known.earlier_flag_evaluation_count + known.flag_evaluation_count) as flag_evaluations
    from {{ known() }} as known
    where known.valid_from < known.rebuilt_from
    group by all

)

select
    beginnings.environment,
    beginnings.identity,
    beginnings.valid_from,

    beginnings.flags_hash,
    beginnings.segments_hash,
    beginnings.traits_hash,

    cast(
        coalesce(lead(beginnings.earlier_flag_evaluations) over spells_in_order, totals.flag_evaluations)
        - beginnings.earlier_flag_evaluations
        as bigint
    ) as flag_evaluation_count,
    cast(
        beginnings.earlier_flag_evaluations + coalesce(untouched.flag_evaluations, 0) as bigint
    ) as earlier_flag_evaluation_count,

    lead(beginnings.valid_from) over spells_in_order as valid_to
from beginnings
inner join totals
    on beginnings.environment = totals.environment and beginnings.identity = totals.identity
left join untouched
    on beginnings.environment = untouched.environment and beginnings.identity = untouched.identity
window spells_in_order as (
    partition by beginnings.environment, beginnings.identity
    order by beginnings.valid_from
)
