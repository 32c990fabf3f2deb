{{ config(meta={'built_from': ['stg_flagsmith__payloads']}) }}

with fresh as (

    -- Many identities are given the same flags: each distinct array is unnested once, from one body that has it.
    select
        payloads.flags_hash,
        min(payloads.payload_hash) as payload_hash,
        min_by(payloads._delivery_id, payloads.payload_hash) as delivery_id
    from {{ ref('stg_flagsmith__payloads') }} as payloads
    where
        payloads.flags_hash is not null
        {%- if builds_on_itself() %}
        and payloads.flags_hash not in (select flags_hash from {{ this }})
        {%- endif %}
    group by payloads.flags_hash

),

bodies as (

    {{ landed_bodies('fresh') }}

),

arrays as (

    -- from_json reads an absent key and a null one alike, but only a null percentage says `control`: it is made a
    -- text first. Inside a JSON string the quotes would be escaped, so nothing else can match.
    select
        fresh.flags_hash,
        {{ json_array(
            "replace(" ~ json_parts('bodies.body', ['$.flags']) ~ "[1], "
            ~ "'\"percentage_allocation\":null', '\"percentage_allocation\":\"null\"')", {
            'enabled': 'BOOLEAN',
            'feature': {
                'id': 'BIGINT',
                'name': 'VARCHAR',
                'type': 'VARCHAR',
                'initial_value': 'VARCHAR',
                'default_enabled': 'BOOLEAN',
            },
            'feature_segment': 'JSON',
            'feature_state_value': 'JSON',
            'identity': 'JSON',
            'percentage_allocation': 'JSON',
        }) }} as flags
    from bodies
    inner join fresh on bodies.payload_hash = fresh.payload_hash

),

elements as (

    select
        flags_hash,
        {{ unnest_list('flags') }}
    from arrays

),

typed as (

    select
        flags_hash,
        position,
        element.feature.id as feature_id,
        element.feature.name as feature_name,
        coalesce(element.feature.type = 'MULTIVARIATE', false) as is_multivariate,
        element.enabled as enabled,
        element.feature.initial_value as default_value,
        element.feature.default_enabled as default_enabled,
        {{ value_text('element.feature_state_value') }} as value,
        {{ value_type('element.feature_state_value') }} as value_type,
        try_cast(cast(element.percentage_allocation as varchar) as double) as percentage_allocation,
        element.percentage_allocation is not null as has_percentage_allocation,
        case
            when element.identity is not null then 'identity_override'
            when element.feature_segment is not null then 'segment_override'
            else 'environment_default'
        end as assignment_reason
    from elements

),

superseded as (

    -- A feature is in the array once. Should one ever be there twice, the last counts.
    select
        flags_hash,
        feature_id,
        max(position) as last_position
    from typed
    group by flags_hash, feature_id
    having count(*) > 1

),

with_variation as (

    select
        typed.*,
        {{ variation() }} as variation
    from typed
    left join superseded
        on typed.flags_hash = superseded.flags_hash and typed.feature_id is not distinct from superseded.feature_id
    where superseded.last_position is null or typed.position = superseded.last_position

)

select
    flags_hash,
    feature_id,
    {{ stable_hash("concat_ws('|', enabled, value_type, coalesce(value, ''), assignment_reason, variation)") }} as state_hash,
    {{ stable_hash("concat_ws('|', feature_id, enabled, assignment_reason, variation)") }} as exposure_hash,
    feature_id is not null and enabled is not null as is_readable,

    feature_name,
    is_multivariate,
    variation,
    enabled,
    value,
    value_type,
    assignment_reason,
    percentage_allocation,
    has_percentage_allocation,
    default_value,
    default_enabled
from with_variation
