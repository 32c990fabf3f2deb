{{ config(
    pre_hook="{{ find_changed_spells('traits_hash') }}",
    meta={
        'built_from': ['int_deliveries', 'int_state_spells', 'int_trait_set_elements'],
        'replaces': 'target.environment = changed.environment and target.identity = changed.identity'
            ' and (target.valid_to > changed.rebuilt_from or target.valid_to is null)',
    },
) }}

-- depends_on: {{ ref('int_deliveries') }}

with {{ element_spells('traits_hash', ref('int_trait_set_elements'), 'trait_key') }}

select
    spells.environment,
    spells.identity,
    spells.trait_key,

    elements.value_text,
    elements.value_number,
    elements.value_boolean,
    elements.value_type,
    elements.is_transient,

    spells.happened_at as valid_from,
    spells.ended_at as valid_to,
    spells.ended_at is null as is_current
from element_spells as spells
inner join {{ ref('int_trait_set_elements') }} as elements
    on spells.last_hash = elements.traits_hash and spells.trait_key = elements.trait_key
