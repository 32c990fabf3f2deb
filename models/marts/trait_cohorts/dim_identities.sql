{{ config(meta={'replaces': 'identity', 'vars': ['transient_traits_in_dim_identities']}) }}

with evaluations as (

    select
        environment,
        identity,
        count(*) as evaluation_count,
        min(received_at) as first_seen_at,
        max(received_at) as last_seen_at
    from {{ new('int_deliveries') }} as deliveries
    where kind = 'evaluation' and not is_test_identity
    group by all

    union all

    select
        environment,
        identity,
        evaluation_count,
        first_seen_at,
        last_seen_at
    from {{ known() }} as known

),

identities as (

    select
        environment,
        identity,
        cast(sum(evaluation_count) as bigint) as evaluation_count,
        min(first_seen_at) as first_seen_at,
        max(last_seen_at) as last_seen_at
    from evaluations
    group by all

),

current_sets as (

    -- The last known sets. An evaluation without traits or segments leaves them as they were.
    select
        spells.environment,
        spells.identity,
        max_by(spells.traits_hash, spells.valid_from) filter (where spells.traits_hash is not null) as traits_hash,
        max_by(spells.segments_hash, spells.valid_from) filter (where spells.segments_hash is not null) as segments_hash
    from {{ changed('int_state_spells') }} as spells
    group by all

),

traits as (

    select
        traits_hash,
        '{' || {{ joined_texts(
            json_quoted('trait_key') ~ " || ': ' || coalesce(cast(trait_value as string), 'null')", ', ', 'trait_key'
        ) }} || '}' as traits,
        count(*) as trait_count
    from {{ ref('int_trait_set_elements') }}
    where
        traits_hash in (select traits_hash from current_sets)
        {%- if not var('transient_traits_in_dim_identities') %}
        and not is_transient
        {%- endif %}
    group by traits_hash

),

segments as (

    select
        segments_hash,
        count(*) as segment_count
    from {{ ref('int_segment_set_elements') }}
    where is_member and segments_hash in (select segments_hash from current_sets)
    group by segments_hash

)

select
    identities.environment,
    identities.identity,

    {{ json_of("coalesce(traits.traits, '{}')") }} as traits,
    coalesce(traits.trait_count, 0) as trait_count,
    coalesce(segments.segment_count, 0) as segment_count,
    identities.evaluation_count,

    identities.first_seen_at,
    identities.last_seen_at
from identities
left join current_sets
    on identities.environment = current_sets.environment and identities.identity = current_sets.identity
left join traits on current_sets.traits_hash = traits.traits_hash
left join segments on current_sets.segments_hash = segments.segments_hash
