{{ config(meta={'adds': 'segments_hash', 'retention': {'sets': 'segments_hash'}}) }}

with arrays as (

    -- Each distinct array of segments is unnested once. Equal hashes mean equal texts, so any body with the hash will do.
    select
        segments_hash,
        {{ json_array('any_value(segments)', {'id': 'JSON', 'name': 'JSON', 'member': 'JSON'}) }} as segments
    from {{ changed('stg_flagsmith__payloads') }} as payloads
    where segments_hash is not null
    group by segments_hash

),

elements as (

    select
        segments_hash,
        {{ unnest_list('segments') }}
    from arrays

),

typed as (

    -- `"1"`, `1.0` and `true` are not ids. We do not guess.
    select
        segments_hash,
        position,
        {{ json_integer('element.id') }} as segment_id,
        {{ json_string('element.name') }} as segment_name,
        {{ json_boolean('element.member') }} as is_member,
        case
            when element.id is null or element.member is null then 'segment_without_id_or_membership'
            when {{ json_integer('element.id') }} is null then 'segment_id_not_an_integer'
            when {{ json_boolean('element.member') }} is null then 'segment_member_not_a_boolean'
            when element.name is not null and {{ json_string('element.name') }} is null then 'segment_name_not_a_string'
        end as quarantine_reason
    from elements

),

last_first as (

    select
        *,
        row_number() over (partition by segments_hash, segment_id order by position desc) as place_from_last
    from typed

)

-- Flagsmith sends a segment once. If it ever occurs twice, the last one counts.
select
    segments_hash,
    segment_id,
    segment_name,
    is_member,
    quarantine_reason
from last_first
where place_from_last = 1
