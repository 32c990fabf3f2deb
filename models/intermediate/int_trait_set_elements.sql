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
        -- `distinct` says nothing new, but keeps the table small in which each is looked up (1,000,000 elements: 0.02 s).
        and traits_hash not in (select distinct traits_hash from {{ this }})
        {%- endif %}
    group by traits_hash

),

elements as (

    select
        traits_hash,
        {{ unnest_list('traits') }}
    from arrays

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
    elements.traits_hash,
    elements.element.trait_key as trait_key,
    case when elements.element.trait_key is null then 'trait_without_key' end as quarantine_reason,

    elements.element.trait_value as trait_value,
    coalesce(elements.element.transient, false) as is_transient
from elements
left join superseded
    on
        elements.traits_hash = superseded.traits_hash
        and elements.element.trait_key is not distinct from superseded.trait_key
where superseded.last_position is null or elements.position = superseded.last_position
