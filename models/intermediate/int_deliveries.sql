{{ config(meta={'adds': 'delivery_id', 'retention': {'received': 'received_at'}}) }}

with {% for kind in ['flag', 'segment', 'trait'] %}unreadable_{{ kind }}_sets as (

    -- Only sets of {{ kind }}s, because sets of two kinds may have the same text. A set can be unreadable in several ways, but gets
    -- one reason, so that a delivery stays one row.
    select
        {{ kind }}s_hash,
        min(quarantine_reason) as reason
    from {{ ref('int_' ~ kind ~ '_set_elements') }}
    where quarantine_reason is not null
    group by {{ kind }}s_hash

),

{% endfor -%}
payloads as (

    select
        payloads.*,
        coalesce(payloads.quarantine_reason, flags.reason, segments.reason, traits.reason) as reason
    from {{ ref('stg_flagsmith__payloads') }} as payloads
    left join unreadable_flag_sets as flags on payloads.flags_hash = flags.flags_hash
    left join unreadable_segment_sets as segments on payloads.segments_hash = segments.segments_hash
    left join unreadable_trait_sets as traits on payloads.traits_hash = traits.traits_hash

),

test_identities as (

    select
        nullif(environment, '') as environment,
        identity
    from {{ ref('int_declared_test_identities') }}
    where identity is not null

)

select
    deliveries.delivery_id,

    deliveries.environment,
    case when payloads.reason is null then payloads.identity end as identity,
    deliveries.payload_hash,
    case when payloads.reason is null then payloads.flags_hash end as flags_hash,
    case when payloads.reason is null then payloads.segments_hash end as segments_hash,
    case when payloads.reason is null then payloads.traits_hash end as traits_hash,

    case when payloads.reason is null then payloads.kind else 'quarantined' end as kind,
    payloads.reason as quarantine_reason,
    coalesce(
        payloads.identity in (select identity from test_identities where environment is null)
        or (deliveries.environment, payloads.identity) in (select environment, identity from test_identities),
        false
    ) as is_test_identity,
    payloads.bytes,
    deliveries._build_number,

    deliveries.received_at,
    deliveries.landed_at
from {{ changed('stg_flagsmith__deliveries') }} as deliveries
inner join payloads on deliveries.payload_hash = payloads.payload_hash
