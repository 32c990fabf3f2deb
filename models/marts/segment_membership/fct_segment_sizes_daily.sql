{{ config(meta={'replaces': 'days'}) }}

with sizes as (

    {{ daily_sizes(ref('fct_segment_memberships'), 'segment_id') }}

),

names as (

    select
        environment,
        segment_id,
        max_by(segment_name, {{ struct_of({'entered_at': 'entered_at', 'identity': 'identity'}) }}) as segment_name
    from {{ ref('fct_segment_memberships') }}
    group by all

),

known_names as (

    -- Names of segments whose members have all been pruned.
    select
        known.environment,
        known.segment_id,
        max_by(known.segment_name, known.day) as segment_name
    from {{ known() }} as known
    where known.day < known.rebuilt_from
    group by known.environment, known.segment_id

)

select
    sizes.environment,
    sizes.segment_id,
    sizes.day,

    coalesce(names.segment_name, known_names.segment_name) as segment_name,
    sizes.members,
    sizes.entered,
    sizes.{{ adapter.quote('left') }}
from sizes
left join names on sizes.environment = names.environment and sizes.segment_id = names.segment_id
left join known_names
    on sizes.environment = known_names.environment and sizes.segment_id = known_names.segment_id
