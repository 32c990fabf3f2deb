{{ config(meta={
    'replaces': 'spell',
    'spell': {'of': 'traits_hash'},
    'retention': {'ended': 'valid_to', 'states_from': 'valid_from'},
}) }}

with {{ element_spells('traits_hash', ref('int_trait_set_elements'), 'trait_key', state=['trait_value', 'is_transient']) }},

typed as (

    -- Values are typed once per spell, not once in each set that contains them.
    select
        spells.*,
        elements.is_transient,
        {{ value_text('elements.trait_value') }} as value_text,
        {{ value_type('elements.trait_value') }} as value_type
    from element_spells as spells
    inner join present as elements
        on spells.last_hash = elements.traits_hash and spells.trait_key = elements.trait_key

)

select
    environment,
    identity,
    trait_key,

    value_text,
    case when value_type in ('integer', 'float') then {{ finite_number('value_text') }} end as value_number,
    case when value_type = 'boolean' then value_text = 'true' end as value_boolean,
    value_type,
    is_transient,

    happened_at as valid_from,
    ended_at as valid_to,
    ended_at is null as is_current
from typed
