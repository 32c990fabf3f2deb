{{ config(meta={'adds': 'delivery_id'}) }}

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
    from {{ new('int_deliveries') }} as deliveries
    inner join {{ ref('stg_flagsmith__payloads') }} as payloads on deliveries.payload_hash = payloads.payload_hash
    where deliveries.kind in ('flag_change', 'audit_log')

),

states as (

    select
        *,
        {% set paths = [
            '$.feature.id', '$.feature.name', '$.enabled', '$.feature_state_value',
            '$.multivariate_feature_state_values', '$.identity_identifier', '$.feature_segment.segment.id'
        ] -%}
        {{ json_parts(list_element('part', 1), paths) }} as new,
        {{ json_parts(list_element('part', 2), paths) }} as old,
        {{ json_parts(list_element('part', 8), ['$.id', '$.name']) }} as feature
    from changes

)

select
    delivery_id,

    environment,
    event_type,
    -- A null or a value of the wrong type is ignored; the next place in the body counts instead.
    coalesce({{ json_integer(list_element('new', 1)) }}, {{ json_integer(list_element('old', 1)) }}, {{ json_integer(list_element('feature', 1)) }}) as feature_id,
    coalesce({{ json_string(list_element('new', 2)) }}, {{ json_string(list_element('old', 2)) }}, {{ json_string(list_element('feature', 2)) }}) as feature_name,
    coalesce({{ json_string(list_element('part', 3)) }}, {{ json_string(list_element('part', 5)) }}, {{ json_string(list_element('part', 9)) }}) as changed_by,
    {{ json_string(list_element('part', 7)) }} as description,

    coalesce({{ json_string(list_element('new', 6)) }}, {{ json_string(list_element('old', 6)) }}) as identity,
    coalesce({{ json_integer(list_element('new', 7)) }}, {{ json_integer(list_element('old', 7)) }}) as segment_id,
    {{ json_boolean(list_element('old', 3)) }} as old_enabled,
    {{ json_boolean(list_element('new', 3)) }} as new_enabled,
    {{ value_text(list_element('old', 4)) }} as old_value,
    {{ value_text(list_element('new', 4)) }} as new_value,
    nullif(cast({{ list_element('old', 5) }} as string), 'null') as old_weights,
    nullif(cast({{ list_element('new', 5) }} as string), 'null') as new_weights,

    {{ utc_timestamp(
        'coalesce(' ~ json_string(list_element('part', 4)) ~ ', ' ~ json_string(list_element('part', 6)) ~ ', ' ~ json_string(list_element('part', 10)) ~ ')'
    ) }} as changed_at,
    received_at
from states
