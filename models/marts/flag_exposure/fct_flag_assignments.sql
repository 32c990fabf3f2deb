{{ config(
    pre_hook="{{ find_changed_spells('flags_hash') }}",
    meta={
        'built_from': ['int_deliveries', 'int_state_spells', 'int_flag_set_elements'],
        'replaces': 'target.environment = changed.environment and target.identity = changed.identity'
            ' and (target.valid_to > changed.rebuilt_from or target.valid_to is null)',
    },
) }}

-- depends_on: {{ ref('int_deliveries') }}

{#- Why the state changed, from what Flagsmith said just before and just after. The first that applies. -#}
{%- set change_reason %}
        case
            when earlier.assignment_reason <> 'identity_override' and element.assignment_reason = 'identity_override'
                then 'identity_override_added'
            when earlier.assignment_reason = 'identity_override' and element.assignment_reason <> 'identity_override'
                then 'identity_override_removed'
            when earlier.assignment_reason <> 'segment_override' and element.assignment_reason = 'segment_override'
                then 'segment_override_added'
            when earlier.assignment_reason = 'segment_override' and element.assignment_reason <> 'segment_override'
                then 'segment_override_removed'
            when earlier.enabled <> element.enabled then 'toggled'
            when coalesce(earlier.percentage_allocation, -1) <> coalesce(element.percentage_allocation, -1) then 'weights_changed'
            else 'value_changed'
        end
{%- endset %}
with {{ element_spells(
    'flags_hash', ref('int_flag_set_elements'), 'feature_id',
    said_at_start={'change_reason': change_reason}, seen=ref('fct_flag_exposures')
) }}

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
        when spells.is_first and not spells.is_known then 'first_seen'
        when spells.is_after_gap and not spells.is_known then 'reappeared'
        else spells.change_reason
    end as change_reason,

    spells.happened_at as valid_from,
    spells.ended_at as valid_to,
    spells.ended_at is null as is_current
from element_spells as spells
inner join present as last
    on spells.last_hash = last.flags_hash and spells.feature_id = last.feature_id
