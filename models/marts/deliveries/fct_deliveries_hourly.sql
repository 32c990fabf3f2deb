{{ config(meta={'replaces': 'hour'}) }}

select
    deliveries.environment,
    date_trunc('hour', deliveries.received_at) as hour,
    deliveries.kind,

    count(*) as deliveries,
    cast(sum(deliveries.bytes) as bigint) as bytes,
    count(distinct deliveries.payload_hash) as distinct_payloads,
    count(distinct deliveries.identity) as identities,
    count(*) filter (where deliveries.is_test_identity) as test_deliveries,
    max({{ seconds_between('deliveries.received_at', 'deliveries.landed_at') }}) as max_landing_delay_seconds,

    max(deliveries.received_at) as last_received_at,
    max(deliveries.landed_at) as last_landed_at
from {{ changed('int_deliveries') }} as deliveries
group by deliveries.environment, date_trunc('hour', deliveries.received_at), deliveries.kind
