{#- Spells of the elements of a set (flags, members of segments, traits) from the spells of the whole set.

    Works on pairs of sets. For each distinct pair of a set and the one before it, it finds once which elements began and
    which ended (it joins the two sets on the element's key and compares states). Only these changes are then sorted per
    identity, not every element of every set.

    Yields the CTEs `present` (the elements of all sets that the spells name) and `element_spells`, which has one row per
    environment, identity, element and valid_from:
      last_hash       the last set that contains the spell; for an open spell, the set in force now
      end_hash        the set that ended the spell; null for an open one
    and, if `absences` is given:
      change_reason   why the spell began
      earlier_count, end_count   flag evaluations of the identity before valid_from and before valid_to

    For a model that replaces `spell`.
    hash_column: the column of int_state_spells with the hash of the set.
    elements: relation with the elements of the sets. key: the element's key.
    only: condition that an element must satisfy to count as present. state: columns that stay the same during a spell.
    absences: int_flag_absences, for flags. Being left out of a set then does not end a spell: the spell goes on when the
    flag comes back unchanged. last_hash and the counts ignore absences. Without `absences`, a spell ends when its element
    is left out. -#}
{% macro element_spells(hash_column, elements, key, only='true', state=['state_hash'], absences=none) %}
{%- set begins = spell_columns().begins -%}
{%- set ends = spell_columns().ends -%}
window_of_spells as (

    select
        spells.environment,
        spells.identity,
        spells.valid_from,
        spells.rebuilt_from,
        spells.{{ hash_column }} as set_hash,
        spells.earlier_flag_evaluation_count as earlier_count,
        spells.earlier_flag_evaluation_count + spells.flag_evaluation_count as end_count
    from {{ changed('int_state_spells', 'valid_from') }} as spells
    where spells.{{ hash_column }} is not null

),

sequence as (

    select
        *,
        lag(set_hash) over (partition by environment, identity order by valid_from) as before_hash
    from window_of_spells

),

latest as (

    -- The set in force now, and all flag evaluations so far.
    select
        environment,
        identity,
        max_by(set_hash, valid_from) as set_hash,
        max(end_count) as end_count
    from window_of_spells
    group by all

),

pairs as (

    select distinct before_hash, set_hash
    from sequence
    where before_hash is distinct from set_hash

),

{%- if absences %}
changed_absences as (

    select * from {{ changed('int_flag_absences', none) }} as absences

),

{% endif -%}
present as (

    select * from {{ elements }}
    where
        {{ only }}
        -- Leave out the sets of identities that did not change (halves the processor time on 1,000,000 trait elements).
        and {{ hash_column }} in (
            select set_hash from window_of_spells
            {%- if absences %}
            union all
            select last_flags_hash from changed_absences
            {%- endif %}
        )

),

differences as (

    select
        pairs.before_hash,
        pairs.set_hash,
        element.{{ key }},
        {%- if absences %}
        case when earlier.{{ key }} is not null then {{ flag_change_reason('earlier', 'element') }} end as change_reason,
        {%- endif %}
        true as is_start
    from pairs
    inner join present as element on pairs.set_hash = element.{{ hash_column }}
    left join present as earlier
        on pairs.before_hash = earlier.{{ hash_column }} and element.{{ key }} = earlier.{{ key }}
    where
        {%- for column in state %}
        {{ 'or ' if not loop.first }}element.{{ column }} is distinct from earlier.{{ column }}
        {%- endfor %}
    {%- if not absences %}

    union all

    select
        pairs.before_hash,
        pairs.set_hash,
        earlier.{{ key }},
        false as is_start
    from pairs
    inner join present as earlier on pairs.before_hash = earlier.{{ hash_column }}
    left join present as element
        on pairs.set_hash = element.{{ hash_column }} and element.{{ key }} = earlier.{{ key }}
    where element.{{ key }} is null
    {%- endif %}

),

starts_and_ends as (

    select
        sequence.environment,
        sequence.identity,
        differences.{{ key }},
        sequence.valid_from as happened_at,
        differences.is_start,
        sequence.set_hash,
        sequence.before_hash,
        sequence.earlier_count
        {%- if absences %},
        coalesce(differences.change_reason, absences.change_reason, 'first_seen') as change_reason
        {%- endif %}
    from sequence
    inner join differences
        on
            sequence.set_hash = differences.set_hash
            and sequence.before_hash is not distinct from differences.before_hash
    {%- if absences %}
    left join changed_absences as absences
        on
            sequence.environment = absences.environment
            and sequence.identity = absences.identity
            and differences.{{ key }} = absences.{{ key }}
            and sequence.valid_from = absences.absent_to
    {%- endif %}
    where
        -- Spells that were open when rebuilding begins are known already, with their beginnings (below).
        (sequence.before_hash is not null or sequence.valid_from > sequence.rebuilt_from)
        {%- if absences %}
        -- A flag that comes back unchanged continues its spell.
        and (absences.identity is null or absences.change_reason is not null)
        {%- endif %}

    union all

    select
        known.environment,
        known.identity,
        known.{{ key }},
        known.{{ begins }} as happened_at,
        true as is_start,
        null as set_hash,
        null as before_hash,
        {{ 'spells.earlier_flag_evaluation_count' if absences else 'null' }} as earlier_count
        {%- if absences %},
        known.change_reason
        {%- endif %}
    from {{ known() }} as known
    {%- if absences %}
    inner join {{ ref('int_state_spells') }} as spells
        on
            known.environment = spells.environment
            and known.identity = spells.identity
            and known.{{ begins }} = spells.valid_from
    {%- endif %}
    where
        known.{{ begins }} <= known.rebuilt_from
        and (known.{{ ends }} > known.rebuilt_from or known.{{ ends }} is null)

),

ordered as (

    select
        *,
        lead(happened_at) over in_order as ended_at,
        lead(before_hash) over in_order as hash_before_end,
        lead(set_hash) over in_order as end_hash,
        lead(earlier_count) over in_order as count_at_end
    from starts_and_ends
    window in_order as (partition by environment, identity, {{ key }} order by happened_at)

),

element_spells as (

    select
        ordered.environment,
        ordered.identity,
        ordered.{{ key }},
        ordered.happened_at,
        ordered.ended_at,
        case when ordered.ended_at is null then latest.set_hash else ordered.hash_before_end end as last_hash,
        ordered.end_hash
        {%- if absences %},
        ordered.change_reason,
        ordered.earlier_count,
        coalesce(ordered.count_at_end, latest.end_count) as end_count
        {%- endif %}
    from ordered
    inner join latest
        on ordered.environment = latest.environment and ordered.identity = latest.identity
    where ordered.is_start

)
{%- endmacro %}
