{#- CTEs from `ways_to_match` to `membership_changes`: when an identity becomes or ceases to be a member of a cohort. -#}
{% macro steps_to_membership_changes(plan) -%}
{%- set has_splits = plan.matches | rejectattr('split_by', 'none') | list -%}
ways_to_match as (

    -- A cohort with a percentage split has one way to match for each range of the hash (more than `above`, at most `up_to`).
    {%- for match in plan.matches %}
    select
        {{ text_literal(match.cohort_key) }} as cohort_key,
        {{ match.column }} as match_column,
        cast({{ match.bit }} as bigint) as bit
        {%- if has_splits %},
        {{ 'null' if match.split_by is none else text_literal(match.split_by | string) }} as split_by,
        {{ match.above }} as above,
        {{ match.up_to }} as up_to
        {%- endif %}
    {{- '\n\n    union all\n' if not loop.last }}
    {%- endfor %}

),

{{ 'changed_matches' if has_splits else 'membership_changes' }} as (

    -- This joins with the list of cohorts. One select per cohort took twice as long.
    {%- for column in range(plan.match_columns) %}
    {%- set holds = bit_is_set('states.matches_' ~ column, 'ways_to_match.bit') %}
    {%- set held = bit_is_set('states.earlier_matches_' ~ column, 'ways_to_match.bit') %}
    select
        states.environment,
        ways_to_match.cohort_key,
        states.identity,
        states.changed_at,
        states.is_only_state,
        {{ holds }} as is_member
        {%- if has_splits %},
        ways_to_match.split_by,
        ways_to_match.above,
        ways_to_match.up_to,
        ways_to_match.split_by || ',' || states.identity_key as hashed_text
        {%- endif %}
    from successive_matches as states
    inner join ways_to_match on {{ holds }} <> {{ held }} and ways_to_match.match_column = {{ column }}
    {{- '\n\n    union all\n' if not loop.last }}
    {%- endfor %}

),
{%- if has_splits %}

hashed_matches as (

    -- Only identities whose membership depends on the split are hashed.
    select
        *,
        {{ md5_modulo('hashed_text', 9999) }} as split_hash
    from changed_matches

),

membership_changes as (

    -- Only the range that contains an identity's hash applies to it. Without a key, the identity is above all splits.
    select
        environment,
        cohort_key,
        identity,
        changed_at,
        is_only_state,
        is_member
    from hashed_matches
    where
        split_by is null
        or coalesce({{ flagsmith_warehouse.split_number('split_hash', 'hashed_text') }}, 9999) between above + 1 and up_to

),
{%- endif %}
{%- endmacro %}
