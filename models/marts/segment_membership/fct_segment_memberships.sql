{{ config(meta={
    'replaces': 'spell',
    'spell': {'of': 'segments_hash', 'begins': 'entered_at', 'ends': 'left_at'},
    'retention': {'ended': 'left_at', 'states_from': 'entered_at'},
}) }}

with {{ element_spells(
    'segments_hash', ref('int_segment_set_elements'), 'segment_id',
    only='is_member', state=['is_member']
) }}

select
    spells.environment,
    spells.identity,
    spells.segment_id,

    last.segment_name,

    -- Flagsmith states that an identity left with `member: false`. A segment that is gone from the payload has its own reason.
    case
        when spells.ended_at is null then null
        when stated.segment_id is not null then 'stated'
        else 'absent'
    end as left_reason,
    spells.ended_at is null as is_current,

    spells.happened_at as entered_at,
    spells.ended_at as left_at
from element_spells as spells
inner join present as last
    on spells.last_hash = last.segments_hash and spells.segment_id = last.segment_id
left join {{ ref('int_segment_set_elements') }} as stated
    on spells.end_hash = stated.segments_hash and spells.segment_id = stated.segment_id
