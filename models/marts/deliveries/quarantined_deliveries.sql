{{ config(meta={'built_from': ['int_deliveries'], 'is_made_of_what_is_left': true}) }}

with quarantined as (

    select
        delivery_id,
        environment,
        payload_hash,
        quarantine_reason,
        received_at
    from {{ ref('int_deliveries') }}
    where
        kind = 'quarantined'
        and {{ is_to_be_taken_in() }}

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
        'select min(delivery_id) from ' ~ ref('int_deliveries') ~ " where kind = 'quarantined' and " ~ is_to_be_taken_in()
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
