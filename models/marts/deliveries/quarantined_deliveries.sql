{{ config(meta={'adds': 'delivery_id', 'retention': {'received': 'received_at'}}) }}

with quarantined as (

    select
        delivery_id,
        environment,
        payload_hash,
        quarantine_reason,
        received_at
    from {{ new('int_deliveries') }} as deliveries
    where kind = 'quarantined'

),

distinct_payloads as (

    select
        payload_hash,
        min(delivery_id) as delivery_id
    from quarantined
    group by payload_hash

),

bodies as (

    {{ landed_bodies(
        'distinct_payloads',
        'select min(delivery_id) from ' ~ new('int_deliveries') ~ " as deliveries where kind = 'quarantined'"
    ) }}

)

select
    quarantined.delivery_id,

    quarantined.environment,
    quarantined.quarantine_reason as reason,
    left(bodies.body, 200) as body_excerpt,

    quarantined.received_at
from quarantined
inner join bodies on quarantined.payload_hash = bodies.payload_hash
