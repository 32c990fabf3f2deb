{{ config(meta={'built_from': ['stg_flagsmith__payloads']}) }}

with arrays as (

    -- Each distinct segments array is unnested once; equal hashes are equal texts, so any one will do.
    select
        segments_hash,
        {{ json_array('any_value(segments)', {'id': 'BIGINT', 'name': 'VARCHAR', 'member': 'BOOLEAN'}) }} as segments
    from {{ ref('stg_flagsmith__payloads') }}
    where
        segments_hash is not null
        {%- if builds_on_itself() %}
        and segments_hash not in (select segments_hash from {{ this }})
        {%- endif %}
    group by segments_hash

),

elements as (

    select
        segments_hash,
        {{ unnest_list('segments') }}
    from arrays

)

select
    segments_hash,
    element.id as segment_id,
    element.name as segment_name,
    element.member as is_member,
    case
        when element.id is null or element.member is null then 'segment_without_id_or_membership'
    end as quarantine_reason
from elements
qualify row_number() over (partition by segments_hash, element.id order by position desc) = 1
