{#- Spells of the elements of a set (flags, members of segments, traits) from the spells of the whole set.

    Computed on pairs of sets: for each distinct pair of a set and the one before it, what began and what ended is
    found once (the two joined on the element's key, compared by its state); only that, not every element of every
    set, is then put in order per identity.

    Yields the CTEs `present` (the elements of all sets that the spells name) and `element_spells`, which has one row per
    environment, identity, element and valid_from:
      began_hash      the set in which the spell began (null where it began before what is rebuilt)
      before_hash     the set that was in force just before (null for none)
      last_hash       the set in force just before the spell's end, now for an open one: its last sighting
      end_hash        the set that ended it (null for an open one)
    and, where `seen` is given (left out otherwise: two more joins with all spells):
      is_first        no spell of the element before
      earlier_count, end_count   flag evaluations of the identity before valid_from and before valid_to

    said: hash column of int_state_spells. elements: relation of the sets' elements. key: the element's key.
    only: condition on an element for it to count as there. state: columns that a spell holds constant. said_at_start: columns
    of the model that say something of a spell's beginning (name -> expression on the `element` that began and the
    `earlier` one of the same key, null for none). seen: relation that knows the elements an identity was ever seen with,
    also of pruned spells, with first_exposed_at. started: the model's column for the beginning, ended: for the end. -#}
{% macro element_spells(
    said, elements, key, only='true', state=['state_hash'], said_at_start={}, seen=none, started='valid_from', ended='valid_to'
) %}
window_of_spells as (

    select
        spells.environment,
        spells.identity,
        spells.valid_from,
        spells.{{ said }} as set_hash,
        spells.earlier_flag_evaluation_count as earlier_count,
        spells.earlier_flag_evaluation_count + spells.flag_evaluation_count as end_count
    from {{ ref('int_state_spells') }} as spells
    {%- if builds_on_itself() %}
    inner join {{ changed() }} as changed
        on
            spells.environment = changed.environment
            and spells.identity = changed.identity
            and spells.valid_from >= changed.rebuilt_from
    {%- endif %}
    where spells.{{ said }} is not null

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

present as (

    select * from {{ elements }}
    where
        {{ only }}
        {%- if builds_on_itself() %}
        -- Sets of identities that did not change are left out (1,000,000 trait elements: half the processor time).
        and {{ said }} in (select set_hash from window_of_spells)
        {%- endif %}

),

differences as (

    select
        pairs.before_hash,
        pairs.set_hash,
        element.{{ key }},
        {%- for column, expression in said_at_start.items() %}
        {{ expression }} as {{ column }},
        {%- endfor %}
        true as is_start
    from pairs
    inner join present as element on pairs.set_hash = element.{{ said }}
    left join present as earlier
        on pairs.before_hash = earlier.{{ said }} and element.{{ key }} = earlier.{{ key }}
    where
        {%- for column in state %}
        {{ 'or ' if not loop.first }}element.{{ column }} is distinct from earlier.{{ column }}
        {%- endfor %}

    union all

    select
        pairs.before_hash,
        pairs.set_hash,
        earlier.{{ key }},
        {%- for column in said_at_start %}
        null as {{ column }},
        {%- endfor %}
        false as is_start
    from pairs
    inner join present as earlier on pairs.before_hash = earlier.{{ said }}
    left join present as element
        on pairs.set_hash = element.{{ said }} and element.{{ key }} = earlier.{{ key }}
    where element.{{ key }} is null

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
        sequence.earlier_count,
        false as is_known
        {%- for column in said_at_start %},
        differences.{{ column }}
        {%- endfor %}
    from sequence
    inner join differences
        on
            sequence.set_hash = differences.set_hash
            and sequence.before_hash is not distinct from differences.before_hash
    {%- if builds_on_itself() %}
    -- What is in force where the rebuilding begins is known already, with its beginning.
    inner join {{ changed() }} as changed
        on sequence.environment = changed.environment and sequence.identity = changed.identity
    where
        sequence.before_hash is not null
        or sequence.valid_from > changed.rebuilt_from

    union all

    select
        known.environment,
        known.identity,
        known.{{ key }},
        known.{{ started }} as happened_at,
        true as is_start,
        null as set_hash,
        null as before_hash,
        {{ 'spells.earlier_flag_evaluation_count' if seen else 'null' }} as earlier_count,
        true as is_known
        {%- for column in said_at_start %},
        known.{{ column }}
        {%- endfor %}
    from {{ this }} as known
    inner join {{ changed() }} as changed
        on
            known.environment = changed.environment
            and known.identity = changed.identity
            and known.{{ started }} <= changed.rebuilt_from
            and (known.{{ ended }} > changed.rebuilt_from or known.{{ ended }} is null)
    {%- if seen %}
    inner join {{ ref('int_state_spells') }} as spells
        on
            known.environment = spells.environment
            and known.identity = spells.identity
            and known.{{ started }} = spells.valid_from
    {%- endif %}
    {%- endif %}

),
{%- if builds_on_itself() and seen %}

seen_before as (

    select distinct
        known.environment,
        known.identity,
        known.{{ key }}
    from {{ this }} as known
    inner join {{ changed() }} as changed
        on
            known.environment = changed.environment
            and known.identity = changed.identity
            and known.{{ started }} < changed.rebuilt_from
    {%- if is_pruned() %}

    union

    -- Spells of it may have been pruned.
    select
        seen.environment,
        seen.identity,
        seen.{{ key }}
    from {{ seen }} as seen
    where seen.first_exposed_at < {{ pruned_before('seen.environment') }}
    {%- endif %}

),
{%- endif %}

ordered as (

    select
        *,
        row_number() over in_order = 1 as is_earliest,
        not coalesce(lag(is_start) over in_order, false) as is_after_gap,
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
        ordered.set_hash as began_hash,
        ordered.before_hash,
        case when ordered.ended_at is null then latest.set_hash else ordered.hash_before_end end as last_hash,
        ordered.end_hash,
        ordered.is_known,
        {%- if seen %}
        ordered.is_earliest
        {%- if builds_on_itself() %} and seen_before.identity is null{% endif %} as is_first,
        ordered.earlier_count,
        coalesce(ordered.count_at_end, latest.end_count) as end_count,
        {%- endif %}
        ordered.is_after_gap
        {%- for column in said_at_start %},
        ordered.{{ column }}
        {%- endfor %}
    from ordered
    inner join latest
        on ordered.environment = latest.environment and ordered.identity = latest.identity
    {%- if builds_on_itself() and seen %}
    left join seen_before
        on
            ordered.environment = seen_before.environment
            and ordered.identity = seen_before.identity
            and ordered.{{ key }} = seen_before.{{ key }}
    {%- endif %}
    where ordered.is_start

)
{%- endmacro %}
