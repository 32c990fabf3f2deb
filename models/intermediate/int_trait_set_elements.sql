{{ config(meta={'adds': 'traits_hash', 'retention': {'sets': 'traits_hash'}}) }}

with arrays as (

    -- Each distinct array of traits is unnested once. Equal hashes mean equal texts, so any body with the hash will do.
    select
        traits_hash,
        {{ json_array('any_value(traits)', {'trait_key': 'JSON', 'trait_value': 'JSON', 'transient': 'JSON'}) }} as traits
    from {{ changed('stg_flagsmith__payloads') }} as payloads
    where traits_hash is not null
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
        {{ json_string('element.trait_key') }} as trait_key,
        element.trait_value as trait_value,
        coalesce({{ json_boolean('element.transient') }}, false) as is_transient,
        case
            when element.trait_key is null then 'trait_without_key'
            when {{ json_string('element.trait_key') }} is null then 'trait_key_not_a_string'
            when element.transient is not null and {{ json_boolean('element.transient') }} is null
                then 'trait_transient_not_a_boolean'
        end as quarantine_reason
    from elements

),

superseded as (

    -- Flagsmith sends a key once. If it ever occurs twice, the last one counts.
    select
        traits_hash,
        trait_key,
        max(position) as last_position
    from typed
    group by traits_hash, trait_key
    having count(*) > 1

)

select
    typed.traits_hash,
    typed.trait_key,
    typed.quarantine_reason,

    typed.trait_value,
    typed.is_transient
from typed
left join superseded
    on typed.traits_hash = superseded.traits_hash and typed.trait_key is not distinct from superseded.trait_key
where superseded.last_position is null or typed.position = superseded.last_position
