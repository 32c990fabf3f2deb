{{ config(materialized='view_in_place') }}

-- A cron job evaluates the canary through Flagsmith and sends the current second as a trait (deploy/canary.sh). A call that
-- arrives late or not at all was delayed or lost somewhere between Flagsmith and the landing.
with calls as (

    select
        deliveries.environment,
        {{ json_integer('traits.trait_value') }} as sent_second,
        min(deliveries.received_at) as received_at,
        min(deliveries.landed_at) as landed_at,
        count(*) as deliveries
    from {{ ref('int_deliveries') }} as deliveries
    inner join {{ ref('int_trait_set_elements') }} as traits on deliveries.traits_hash = traits.traits_hash
    where
        deliveries.kind = 'evaluation'
        and deliveries.identity = {{ text_literal(var('canary_identity', 'warehouse-canary')) }}
        and traits.trait_key = 'canary_sent_at'
        and {{ value_type('traits.trait_value') }} = 'integer'
    group by deliveries.environment, {{ json_integer('traits.trait_value') }}

)

select
    environment,
    {{ timestamp_of_seconds('sent_second') }} as sent_at,

    deliveries,
    greatest(
        0,
        coalesce(cast(round(
            (sent_second - lag(sent_second) over (partition by environment order by sent_second))
            / {{ var('canary_seconds', 60) }}
        ) as bigint) - 1, 0)
    ) as lost_before,
    {{ seconds_between(timestamp_of_seconds('sent_second'), 'received_at') }} as delivery_seconds,
    {{ seconds_between('received_at', 'landed_at') }} as landing_seconds,

    received_at,
    landed_at
from calls
