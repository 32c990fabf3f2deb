{{ config(meta={'built_from': ['int_deliveries', 'stg_flagsmith__payloads']}) }}

with changes as (

    select
        deliveries.delivery_id,
        deliveries.environment,
        payloads.event_type,
        {{ json_parts('payloads.change', [
            '$.new_state', '$.previous_state', '$.changed_by', '$.timestamp',
            '$.author.email', '$.created_date', '$.log',
            '$.feature', '$.published_by.email', '$.live_from'
        ]) }} as part,
        deliveries.received_at
    from {{ ref('int_deliveries') }} as deliveries
    inner join {{ ref('stg_flagsmith__payloads') }} as payloads on deliveries.payload_hash = payloads.payload_hash
    where
        deliveries.kind in ('flag_change', 'audit_log')
        and {{ is_to_be_taken_in('deliveries') }}

),

states as (

    select
        *,
        {% set paths = [
            '$.feature.id', '$.feature.name', '$.enabled', '$.feature_state_value',
            '$.multivariate_feature_state_values', '$.identity_identifier', '$.feature_segment.segment.id'
        ] -%}
        {{ json_parts('part[1]', paths) }} as new,
        {{ json_parts('part[2]', paths) }} as old,
        {{ json_parts('part[8]', ['$.id', '$.name']) }} as feature
    from changes

)

select
    delivery_id,

    environment,
    event_type,
    {{ json_integer('coalesce(new[1], old[1], feature[1])') }} as feature_id,
    {{ json_string('coalesce(new[2], old[2], feature[2])') }} as feature_name,
    {{ json_string('coalesce(part[3], part[5], part[9])') }} as changed_by,
    {{ json_string('part[7]') }} as description,

    {{ json_string('coalesce(new[6], old[6])') }} as identity,
    {{ json_integer('coalesce(new[7], old[7])') }} as segment_id,
    {{ json_boolean('old[3]') }} as old_enabled,
    {{ json_boolean('new[3]') }} as new_enabled,
    {{ value_text('old[4]') }} as old_value,
    {{ value_text('new[4]') }} as new_value,
    cast(old[5] as varchar) as old_weights,
    cast(new[5] as varchar) as new_weights,

    {{ utc_timestamp(json_string('coalesce(part[4], part[6], part[10])')) }} as changed_at,
    received_at
from states
