{{ config(
    pre_hook="{{ find_changed_spells('flags_hash') }}",
    meta={
        'built_from': ['int_deliveries', 'int_state_spells', 'int_flag_set_elements'],
        'replaces': 'target.environment = changed.environment and target.identity = changed.identity'
            ' and (target.valid_to > changed.rebuilt_from or target.valid_to is null)',
    },
) }}

-- depends_on: {{ ref('int_deliveries') }}

with {{ element_spells(
    'flags_hash', ref('int_flag_set_elements'), 'feature_id', kept=['change_reason'], seen=ref('fct_flag_exposures')
) }},

reasons as (

    -- Why the state changed, from what Flagsmith said just before and just after: once per pair of sets, not per
    -- identity. The first that applies.
    select distinct
        changes.before_hash,
        changes.began_hash,
        changes.feature_id,
        case
            when earlier.assignment_reason <> 'identity_override' and later.assignment_reason = 'identity_override'
                then 'identity_override_added'
            when earlier.assignment_reason = 'identity_override' and later.assignment_reason <> 'identity_override'
                then 'identity_override_removed'
            when earlier.assignment_reason <> 'segment_override' and later.assignment_reason = 'segment_override'
                then 'segment_override_added'
            when earlier.assignment_reason = 'segment_override' and later.assignment_reason <> 'segment_override'
                then 'segment_override_removed'
            when earlier.enabled <> later.enabled then 'toggled'
            when earlier.percentage_allocation is distinct from later.percentage_allocation then 'weights_changed'
            else 'value_changed'
        end as change_reason
    from (select distinct before_hash, began_hash, feature_id from element_spells) as changes
    inner join {{ ref('int_flag_set_elements') }} as earlier
        on changes.before_hash = earlier.flags_hash and changes.feature_id = earlier.feature_id
    inner join {{ ref('int_flag_set_elements') }} as later
        on changes.began_hash = later.flags_hash and changes.feature_id = later.feature_id

)

select
    spells.environment,
    spells.identity,
    spells.feature_id,

    last.feature_name,
    last.is_multivariate,
    last.variation,
    last.enabled,
    last.value,
    last.value_type,
    last.assignment_reason,
    last.percentage_allocation,

    spells.end_count - spells.earlier_count as evaluation_count,
    case
        when spells.is_known then spells.change_reason
        when spells.is_first then 'first_seen'
        when spells.is_after_gap then 'reappeared'
        else reasons.change_reason
    end as change_reason,

    spells.happened_at as valid_from,
    spells.ended_at as valid_to,
    spells.ended_at is null as is_current
from element_spells as spells
inner join {{ ref('int_flag_set_elements') }} as last
    on spells.last_hash = last.flags_hash and spells.feature_id = last.feature_id
left join reasons
    on
        spells.before_hash = reasons.before_hash
        and spells.began_hash = reasons.began_hash
        and spells.feature_id = reasons.feature_id
