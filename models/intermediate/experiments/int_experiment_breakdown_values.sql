{{ config(materialized='table_in_place') }}

{#- Values of one dimension that are shown; the rarer ones are "(others)". -#}
{%- set most_values = 10 -%}

with experiments as (

    select * from {{ ref('int_experiments') }}
    where breakdowns is not null and status <> 'invalid'

),

dimensions as (

    {{ breakdown_dimensions('experiments') }}

),

identities as (

    select
        identities.experiment_key,
        identities.identity_number,
        experiments.environment,
        -- A person has the traits and segments of the identity that was evaluated first.
        identities.first_identity as identity,
        identities.first_exposed_at
    from {{ ref('int_experiment_assignments') }} as identities
    inner join experiments on identities.experiment_key = experiments.experiment_key

),

known_sets as (

    -- The traits and segments as they were at the first evaluation. One that is silent about them leaves them as they were.
    select
        identities.identity_number,
        max_by(spells.traits_hash, spells.valid_from) filter (where spells.traits_hash is not null) as traits_hash,
        max_by(spells.segments_hash, spells.valid_from) filter (where spells.segments_hash is not null) as segments_hash
    from identities
    inner join {{ ref('int_state_spells') }} as spells
        on
            identities.environment = spells.environment
            and identities.identity = spells.identity
            and identities.first_exposed_at >= spells.valid_from
    group by identities.identity_number

),

traits as (

    select
        traits_hash,
        trait_key,
        is_transient,
        {{ value_text('trait_value') }} as value_text,
        {{ value_type('trait_value') }} as value_type
    from {{ ref('int_trait_set_elements') }}
    where quarantine_reason is null and traits_hash in (select traits_hash from known_sets)

),

segments as (

    select
        segments_hash,
        segment_name,
        max(case when is_member then 1 else 0 end) = 1 as is_member
    from {{ ref('int_segment_set_elements') }}
    where quarantine_reason is null and segments_hash in (select segments_hash from known_sets)
    group by segments_hash, segment_name

),

first_sightings as (

    -- Cohorts need each identity once, whatever the number of its experiments: its states follow each other.
    select
        identities.environment,
        identities.identity,
        identities.first_exposed_at,
        max(known_sets.traits_hash) as traits_hash,
        lead(identities.first_exposed_at) over (
            partition by identities.environment, identities.identity order by identities.first_exposed_at
        ) as next_exposed_at
    from identities
    inner join known_sets on identities.identity_number = known_sets.identity_number
    where identities.experiment_key in (select experiment_key from dimensions where kind = 'cohort')
    group by identities.environment, identities.identity, identities.first_exposed_at

),

{% if cohorts() -%}
first_traits as (

    select
        first_sightings.environment,
        first_sightings.identity,
        traits.trait_key,
        first_sightings.first_exposed_at as valid_from,
        first_sightings.next_exposed_at as valid_to,
        traits.value_type,
        traits.value_text,
        case when traits.value_type in ('integer', 'float') then {{ finite_number('traits.value_text') }} end as value_number,
        traits.is_transient
    from first_sightings
    inner join traits on first_sightings.traits_hash = traits.traits_hash

),

{% endif -%}
first_seen as (

    select environment, identity, min(first_exposed_at) as first_seen_at
    from first_sightings
    group by environment, identity

),

memberships as (

    {{ cohort_memberships(cohorts(), 'first_traits', 'first_seen') }}

),

named_values as (

    select
        identities.experiment_key,
        identities.identity_number,
        dimensions.kind || ':' || dimensions.name as dimension,
        case
            when dimensions.kind = 'trait' then traits.value_text
            when dimensions.kind = 'cohort' then case when memberships.identity is null then 'false' else 'true' end
            when known_sets.segments_hash is not null then case when segments.is_member then 'true' else 'false' end
        end as named_value
    from identities
    inner join dimensions on identities.experiment_key = dimensions.experiment_key
    left join known_sets on identities.identity_number = known_sets.identity_number
    left join traits
        on
            dimensions.kind = 'trait'
            and known_sets.traits_hash = traits.traits_hash
            and dimensions.name = traits.trait_key
    left join segments
        on
            dimensions.kind = 'segment'
            and known_sets.segments_hash = segments.segments_hash
            and dimensions.name = segments.segment_name
    left join memberships
        on
            dimensions.kind = 'cohort'
            and identities.environment = memberships.environment
            and identities.identity = memberships.identity
            and dimensions.name = memberships.cohort_key
            and identities.first_exposed_at >= memberships.entered_at
            and (identities.first_exposed_at < memberships.left_at or memberships.left_at is null)

),

ranked_values as (

    select
        experiment_key,
        dimension,
        named_value,
        row_number() over (partition by experiment_key, dimension order by count(*) desc, named_value) as place
    from named_values
    -- A trait may hold the texts that name groups of ours; such a value is one of the others.
    where named_value not in ('(none)', '(others)')
    group by experiment_key, dimension, named_value

)

select
    named_values.experiment_key,
    named_values.identity_number,
    named_values.dimension,

    case
        when named_values.named_value is null then '(none)'
        when ranked_values.place <= {{ most_values }} then named_values.named_value
        else '(others)'
    end as dimension_value
from named_values
left join ranked_values
    on
        named_values.experiment_key = ranked_values.experiment_key
        and named_values.dimension = ranked_values.dimension
        and named_values.named_value = ranked_values.named_value
