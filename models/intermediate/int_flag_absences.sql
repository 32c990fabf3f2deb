{{ config(meta={
    'replaces': 'spell',
    'spell': {'of': 'flags_hash', 'begins': 'absent_from', 'ends': 'absent_to'},
    'retention': {'absences': true, 'states_from': 'last_seen_from'},
}) }}

with states as (

    select
        spells.environment,
        spells.identity,
        spells.valid_from,
        spells.flags_hash,
        spells.earlier_flag_evaluation_count as earlier_count,
        spells.earlier_flag_evaluation_count + spells.flag_evaluation_count as end_count
    from {{ changed('int_state_spells', 'valid_from') }} as spells
    where spells.flags_hash is not null

),

sequence as (

    select
        *,
        lag(flags_hash) over states_in_order as before_hash,
        lag(valid_from) over states_in_order as before_from
    from states
    window states_in_order as (partition by environment, identity order by valid_from)

),

totals as (

    select
        environment,
        identity,
        max(end_count) as end_count
    from states
    group by all

),

pairs as (

    select distinct before_hash, flags_hash
    from sequence
    where before_hash <> flags_hash

),

features as (

    select flags_hash, feature_id
    from {{ ref('int_flag_set_elements') }}
    where quarantine_reason is null and flags_hash in (select flags_hash from states)

),

-- For each distinct pair of consecutive sets, the features that the second one lacks, and those that the first one lacked.
left_out as (

    select
        pairs.before_hash,
        pairs.flags_hash,
        earlier.feature_id
    from pairs
    inner join features as earlier on pairs.before_hash = earlier.flags_hash
    left join features as later
        on pairs.flags_hash = later.flags_hash and earlier.feature_id = later.feature_id
    where later.feature_id is null

),

brought_in as (

    select
        pairs.before_hash,
        pairs.flags_hash,
        later.feature_id
    from pairs
    inner join features as later on pairs.flags_hash = later.flags_hash
    left join features as earlier
        on pairs.before_hash = earlier.flags_hash and later.feature_id = earlier.feature_id
    where earlier.feature_id is null

),

moments as (

    select
        sequence.environment,
        sequence.identity,
        left_out.feature_id,
        sequence.valid_from as happened_at,
        true as is_absent,
        sequence.before_hash as last_flags_hash,
        sequence.before_from as last_seen_from,
        null as flags_hash,
        sequence.earlier_count
    from sequence
    inner join left_out
        on sequence.before_hash = left_out.before_hash and sequence.flags_hash = left_out.flags_hash

    union all

    select
        sequence.environment,
        sequence.identity,
        brought_in.feature_id,
        sequence.valid_from as happened_at,
        false as is_absent,
        null as last_flags_hash,
        null as last_seen_from,
        sequence.flags_hash,
        sequence.earlier_count
    from sequence
    inner join brought_in
        on sequence.before_hash = brought_in.before_hash and sequence.flags_hash = brought_in.flags_hash

    union all

    -- Absences at the point where rebuilding starts are known already.
    select
        known.environment,
        known.identity,
        known.feature_id,
        known.absent_from as happened_at,
        true as is_absent,
        known.last_flags_hash,
        known.last_seen_from,
        null as flags_hash,
        known.earlier_flag_evaluation_count as earlier_count
    from {{ known() }} as known
    where known.absent_from <= known.rebuilt_from and (known.absent_to > known.rebuilt_from or known.absent_to is null)

),

moments_with_next as (

    -- After an absence the feature can only come back. A feature that appears without an absence before is new.
    select
        *,
        lead(happened_at) over moments_in_order as absent_to,
        lead(flags_hash) over moments_in_order as return_hash,
        lead(earlier_count) over moments_in_order as count_at_end
    from moments
    window moments_in_order as (partition by environment, identity, feature_id order by happened_at)

),

absences as (

    select * from moments_with_next
    where is_absent

)

select
    absences.environment,
    absences.identity,
    absences.feature_id,
    absences.happened_at as absent_from,

    absences.last_flags_hash,
    case when earlier.state_hash <> element.state_hash then {{ flag_change_reason('earlier', 'element') }} end as change_reason,
    coalesce(absences.count_at_end, totals.end_count) - absences.earlier_count as evaluation_count,
    absences.earlier_count as earlier_flag_evaluation_count,

    absences.last_seen_from,
    absences.absent_to
from absences
inner join totals
    on absences.environment = totals.environment and absences.identity = totals.identity
inner join {{ ref('int_flag_set_elements') }} as earlier
    on absences.last_flags_hash = earlier.flags_hash and absences.feature_id = earlier.feature_id
left join {{ ref('int_flag_set_elements') }} as element
    on absences.return_hash = element.flags_hash and absences.feature_id = element.feature_id
