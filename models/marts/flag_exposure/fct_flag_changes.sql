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
    -- A null says nothing, and neither does a value of a wrong type: then the next place counts.
    coalesce({{ json_integer('new[1]') }}, {{ json_integer('old[1]') }}, {{ json_integer('feature[1]') }}) as feature_id,
    coalesce({{ json_string('new[2]') }}, {{ json_string('old[2]') }}, {{ json_string('feature[2]') }}) as feature_name,
    coalesce({{ json_string('part[3]') }}, {{ json_string('part[5]') }}, {{ json_string('part[9]') }}) as changed_by,
    {{ json_string('part[7]') }} as description,

    coalesce({{ json_string('new[6]') }}, {{ json_string('old[6]') }}) as identity,
    coalesce({{ json_integer('new[7]') }}, {{ json_integer('old[7]') }}) as segment_id,
    {{ json_boolean('old[3]') }} as old_enabled,
    {{ json_boolean('new[3]') }} as new_enabled,
    {{ value_text('old[4]') }} as old_value,
    {{ value_text('new[4]') }} as new_value,
    nullif(cast(old[5] as varchar), 'null') as old_weights,
    nullif(cast(new[5] as varchar), 'null') as new_weights,

    {{ utc_timestamp(
        'coalesce(' ~ json_string('part[4]') ~ ', ' ~ json_string('part[6]') ~ ', ' ~ json_string('part[10]') ~ ')'
    ) }} as changed_at,
    received_at
from states
