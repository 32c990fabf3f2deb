{{ config(meta={'built_from': [
    'stg_flagsmith__deliveries',
    'stg_flagsmith__payloads',
    'int_flag_set_elements',
    'int_segment_set_elements',
    'int_trait_set_elements',
], 'declared': ['test_identities'], 'is_made_of_what_is_left': true}) }}

with unreadable as (

    -- Arrays with an element that lacks what makes it one: a flag without feature id or state, a segment without id or
    -- membership, a trait without key.
    select distinct
        flags_hash as set_hash,
        quarantine_reason as reason
    from {{ ref('int_flag_set_elements') }}
    where quarantine_reason is not null

    union all

    select distinct
        segments_hash as set_hash,
        quarantine_reason as reason
    from {{ ref('int_segment_set_elements') }}
    where quarantine_reason is not null

    union all

    select distinct
        traits_hash as set_hash,
        quarantine_reason as reason
    from {{ ref('int_trait_set_elements') }}
    where quarantine_reason is not null

),

payloads as (

    select
        payloads.*,
        coalesce(payloads.quarantine_reason, flags.reason, segments.reason, traits.reason) as reason
    from {{ ref('stg_flagsmith__payloads') }} as payloads
    left join unreadable as flags on payloads.flags_hash = flags.set_hash
    left join unreadable as segments on payloads.segments_hash = segments.set_hash
    left join unreadable as traits on payloads.traits_hash = traits.set_hash

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
    {% if replaces_itself() -%}
    -- What has a number keeps it: models built from this one may not have taken in what the deliveries were numbered anew
    -- with, and would take all of it in a second time.
    coalesce(known._build_number, deliveries._build_number) as _build_number,
    {%- else -%}
    deliveries._build_number,
    {%- endif %}

    deliveries.received_at,
    deliveries.landed_at
from {{ ref('stg_flagsmith__deliveries') }} as deliveries
inner join payloads on deliveries.payload_hash = payloads.payload_hash
{%- if replaces_itself() %}
left join {{ this }} as known on deliveries.delivery_id = known.delivery_id
{%- endif %}
where
    {{ is_to_be_taken_in('deliveries') }}
    {%- if builds_on_itself() %}
    -- Where the deliveries were numbered anew (a rebuild of that model alone), most are known here. Otherwise none is, and
    -- ids begin with the time of receipt: known ones from before the earliest new one are not read (1,000,000: 0.05 s).
    and deliveries.delivery_id not in (
        select delivery_id from {{ this }}
        where
            delivery_id in (select delivery_id from {{ ref('stg_flagsmith__deliveries') }} where {{ is_to_be_taken_in() }})
            and delivery_id >= (select min(delivery_id) from {{ ref('stg_flagsmith__deliveries') }} where {{ is_to_be_taken_in() }})
    )
{%- endif %}
