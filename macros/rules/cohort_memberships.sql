{#- Select: one row per environment, cohort_key, identity and entered_at, a spell of membership, with left_at (null while
    it lasts). fct_cohort_memberships uses it, and it can evaluate rules on any data.
    cohorts: as cohorts() returns them. traits: relation with environment, identity, trait_key, valid_from, valid_to,
    value_type, value_text, value_number, is_transient. identities: relation with environment, identity, first_seen_at.
    It reads the traits once, whatever the number of cohorts. The steps: parse/ reads the rules, plan/ lists the conditions to
    test, sql/ writes the tests. -#}
{% macro cohort_memberships(cohorts, traits, identities) %}
{%- set plan = flagsmith_warehouse.plan_cohorts(cohorts) -%}
{%- if not plan.matches -%}
select
    environment,
    cast(null as {{ dbt.type_string() | lower }}) as cohort_key,
    identity,
    first_seen_at as entered_at,
    cast(null as timestamp) as left_at
from {{ identities }}
where 1 = 0
{%- else -%}
with
{{ flagsmith_warehouse.steps_to_held_conditions(plan, traits, identities) }}

{{ flagsmith_warehouse.steps_to_states(plan) }}

{{ flagsmith_warehouse.steps_to_matches(plan) }}

{{ flagsmith_warehouse.steps_to_membership_changes(plan) }}

later_changes as (

    -- A membership lasts until the identity's next change in the same cohort.
    select
        environment,
        cohort_key,
        identity,
        is_member,
        changed_at as entered_at,
        lead(changed_at) over (partition by environment, cohort_key, identity order by changed_at) as left_at
    from membership_changes
    where not is_only_state

)

select
    environment,
    cohort_key,
    identity,
    changed_at as entered_at,
    cast(null as timestamp) as left_at
from membership_changes
where is_only_state

union all

select
    environment,
    cohort_key,
    identity,
    entered_at,
    left_at
from later_changes
where is_member
{%- endif %}
{% endmacro %}
