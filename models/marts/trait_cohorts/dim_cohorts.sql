{{ config(materialized='table_in_place') }}

with declared as (

    {{ declared_cohorts(cohorts()) }}

),

current_members as (

    select
        cohort_key,
        count(*) as members
    from {{ ref('fct_cohort_memberships') }}
    where is_current
    group by cohort_key

)

select
    declared.cohort_key,

    declared.name,
    declared.description,
    declared.environment,
    declared.mirrors_segment_id,
    declared.mirrors_segment_name,
    declared.rule_text,

    coalesce(current_members.members, 0) as members
from declared
left join current_members on declared.cohort_key = current_members.cohort_key
