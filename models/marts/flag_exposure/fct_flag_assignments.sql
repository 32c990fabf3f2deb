{{ config(meta={
    'replaces': 'spell',
    'spell': {'of': 'flags_hash'},
    'retention': {'ended': 'valid_to', 'states_from': 'valid_from'},
}) }}

with {{ element_spells(
    'flags_hash', ref('int_flag_set_elements'), 'feature_id', absences=ref('int_flag_absences')
) }},

absences_by_spell as (

    -- Evaluations that left the feature out do not count; its last sighting may lie before them.
    select
        spells.environment,
        spells.identity,
        spells.feature_id,
        spells.happened_at,
        sum(absences.evaluation_count) as evaluation_count,
        any_value(absences.last_flags_hash) filter (
            where absences.absent_to is not distinct from spells.ended_at
        ) as last_flags_hash
    from element_spells as spells
    inner join {{ ref('int_flag_absences') }} as absences
        on
            spells.environment = absences.environment
            and spells.identity = absences.identity
            and spells.feature_id = absences.feature_id
            and spells.happened_at < absences.absent_from
            and (spells.ended_at > absences.absent_from or spells.ended_at is null)
    group by spells.environment, spells.identity, spells.feature_id, spells.happened_at

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

    cast(spells.end_count - spells.earlier_count - coalesce(absences.evaluation_count, 0) as bigint) as evaluation_count,
    spells.change_reason,

    spells.happened_at as valid_from,
    spells.ended_at as valid_to,
    spells.ended_at is null as is_current
from element_spells as spells
left join absences_by_spell as absences
    on
        spells.environment = absences.environment
        and spells.identity = absences.identity
        and spells.feature_id = absences.feature_id
        and spells.happened_at = absences.happened_at
inner join present as last
    on coalesce(absences.last_flags_hash, spells.last_hash) = last.flags_hash and spells.feature_id = last.feature_id
