{{ config(meta={'built_from': ['stg_flagsmith__payloads']}) }}

with arrays as (

    -- Each distinct traits array is unnested once; equal hashes are equal texts, so any one will do.
    select
        traits_hash,
        {{ json_array('any_value(traits)', {'trait_key': 'VARCHAR', 'trait_value': 'JSON', 'transient': 'BOOLEAN'}) }} as traits
    from {{ ref('stg_flagsmith__payloads') }}
    where
        traits_hash is not null
        {%- if builds_on_itself() %}
        and traits_hash not in (select traits_hash from {{ this }})
        {%- endif %}
    group by traits_hash

),

elements as (

    select
        traits_hash,
        {{ unnest_list('traits') }}
    from arrays

),

typed as (

    select
        traits_hash,
        position,
        element.trait_key as trait_key,
        coalesce(element.transient, false) as is_transient,
        element.trait_value as trait_value,
        {{ value_type('element.trait_value') }} as value_type,
        {{ value_text('element.trait_value') }} as value_text
    from elements

),

superseded as (

    -- A key is in the array once. Should one ever be there twice, the last counts.
    select
        traits_hash,
        element.trait_key as trait_key,
        max(position) as last_position
    from elements
    group by traits_hash, element.trait_key
    having count(*) > 1

)

select
    typed.traits_hash,
    typed.trait_key,
    {{ stable_hash("concat_ws('|', value_type, is_transient, coalesce(value_text, ''))") }} as state_hash,
    case when typed.trait_key is null then 'trait_without_key' end as quarantine_reason,

    value_text,
    case when value_type in ('integer', 'float') then {{ finite_number('value_text') }} end as value_number,
    case when value_type = 'boolean' then value_text = 'true' end as value_boolean,
    value_type,
    trait_value,
    is_transient
from typed
left join superseded
    on typed.traits_hash = superseded.traits_hash and typed.trait_key is not distinct from superseded.trait_key
where superseded.last_position is null or typed.position = superseded.last_position
