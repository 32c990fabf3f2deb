{{ config(meta={'adds': 'flags_hash', 'prepares': 'kept_flags', 'retention': {'sets': 'flags_hash'}}) }}

with fresh as (

    -- Many identities are given the same flags: each distinct array is unnested once, from one body that has it.
    select
        payloads.flags_hash,
        min(payloads.payload_hash) as payload_hash,
        min_by(payloads._delivery_id, payloads.payload_hash) as delivery_id
    from {{ changed('stg_flagsmith__payloads') }} as payloads
    where payloads.flags_hash is not null
    group by payloads.flags_hash

),

bodies as (

    {{ landed_bodies(
        'fresh',
        'select min(_delivery_id) from ' ~ changed('stg_flagsmith__payloads') ~ ' as payloads where flags_hash is not null'
    ) }}

),

arrays as (

    -- A body that is not JSON has one element, ''. (stg_flagsmith__payloads may have parsed only what follows the
    -- flags.)
    select
        fresh.flags_hash,
        coalesce({{ json_elements('bodies.body', '$.flags') }}, {{ list_of(["''"]) }}) as flags
    from bodies
    inner join fresh on bodies.payload_hash = fresh.payload_hash

),

elements as (

    select
        flags_hash,
        {{ unnest_list('flags') }}
    from arrays

),

flags as (

    -- Sets differ in a flag or two: of 100,000 elements about 100 are distinct, and only these are read. from_json does not
    -- distinguish an absent key from a null one, but only a null percentage means `control`. So a null percentage is first
    -- replaced by a text. Inside a JSON string the quotes would be escaped, so nothing else can match.
    select
        element,
        {{ json_object(
            "replace(nullif(element, ''), '\"percentage_allocation\":null', '\"percentage_allocation\":\"null\"')", {
            'enabled': 'JSON',
            'feature': {'id': 'JSON', 'name': 'JSON', 'type': 'JSON', 'initial_value': 'JSON', 'default_enabled': 'JSON'},
            'feature_segment': 'JSON',
            'feature_state_value': 'JSON',
            'identity': 'JSON',
            'percentage_allocation': 'JSON',
        }) }} as flag
    from (select distinct element from elements) as distinct_elements

),

typed as (

    select
        element,
        {{ json_integer('flag.feature.id') }} as feature_id,
        {{ json_string('flag.feature.name') }} as feature_name,
        coalesce({{ json_string('flag.feature.type') }} = 'MULTIVARIATE', false) as is_multivariate,
        {{ json_boolean('flag.enabled') }} as enabled,
        {{ value_text('flag.feature.initial_value') }} as default_value,
        {{ json_boolean('flag.feature.default_enabled') }} as default_enabled,
        {{ value_text('flag.feature_state_value') }} as value,
        {{ value_type('flag.feature_state_value') }} as value_type,
        {{ double_of('cast(flag.percentage_allocation as string)') }} as percentage_allocation,
        flag.percentage_allocation is not null as has_percentage_allocation,
        case
            when flag.identity is not null then 'identity_override'
            when flag.feature_segment is not null then 'segment_override'
            else 'environment_default'
        end as assignment_reason,
        -- `"1"`, `1.0` and `true` are not ids. We do not guess.
        case
            when element = '' then 'not_json'
            when flag.feature.id is null or flag.enabled is null then 'flag_without_id_or_state'
            when {{ json_integer('flag.feature.id') }} is null then 'flag_feature_id_not_an_integer'
            when {{ json_boolean('flag.enabled') }} is null then 'flag_enabled_not_a_boolean'
            when flag.feature.name is not null and {{ json_string('flag.feature.name') }} is null
                then 'flag_feature_name_not_a_string'
            when flag.feature.type is not null and {{ json_string('flag.feature.type') }} is null
                then 'flag_feature_type_not_a_string'
            when
                flag.percentage_allocation is not null
                and cast(flag.percentage_allocation as string) <> '"null"'
                and {{ finite_number('cast(flag.percentage_allocation as string)') }} is null
                then 'flag_percentage_allocation_not_a_number'
        end as quarantine_reason
    from flags

),

with_variation as (

    select
        *,
        {{ variation() }} as variation
    from typed

),

described as {{ evaluated_once() }} (

    -- Computed once per distinct element. Otherwise DuckDB would do it for each element of each set.
    select
        *,
        {{ flag_state_hash() }} as state_hash,
        {{ flag_exposure_hash() }} as exposure_hash
    from with_variation

),

placed as (

    select
        elements.flags_hash,
        elements.position,
        {{ columns_but('described', ['element']) }}
    from elements
    inner join described on elements.element = described.element

),

superseded as (

    -- Flagsmith sends a feature once. If it ever occurs twice, the last one counts.
    select
        flags_hash,
        feature_id,
        max(position) as last_position
    from placed
    group by flags_hash, feature_id
    having count(*) > 1

)

select
    placed.flags_hash,
    placed.feature_id,
    placed.state_hash,
    placed.exposure_hash,
    placed.quarantine_reason,

    placed.feature_name,
    placed.is_multivariate,
    placed.variation,
    placed.enabled,
    placed.value,
    placed.value_type,
    placed.assignment_reason,
    placed.percentage_allocation,
    placed.has_percentage_allocation,
    placed.default_value,
    placed.default_enabled
from placed
left join superseded
    on placed.flags_hash = superseded.flags_hash and placed.feature_id is not distinct from superseded.feature_id
where superseded.last_position is null or placed.position = superseded.last_position
