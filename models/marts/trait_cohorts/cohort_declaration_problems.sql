{{ config(materialized='table') }}

{%- set judged = judge_cohorts(given_cohorts()) %}

with traits as (

    {% for number, cohort_key, trait_key in judged.traits or [[0, '', '']] -%}
    select
        cast({{ number }} as bigint) as row_number,
        {{ text_literal(cohort_key) }} as cohort_key,
        {{ text_literal(trait_key) }} as trait_key
    {{ 'where 1 = 0' if not judged.traits }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

cohorts as (

    {{ declared_cohorts(judged.cohorts) }}

),

segments as (

    select distinct segment_id, segment_name
    from {{ ref('int_segment_set_elements') }}

),

unseen as (

    select
        traits.row_number,
        'rules' as column_name,
        traits.cohort_key,
        traits.trait_key as cell,
        'no identity ever had the trait ' || traits.trait_key as problem,
        'write it as in Flagsmith; capital letters count' as remedy
    from traits
    where not exists (
        select 1 from {{ ref('fct_identity_traits') }} as known where traits.trait_key = known.trait_key
    )

    union all

    select
        cast(null as bigint) as row_number,
        'environment' as column_name,
        cohorts.cohort_key,
        cohorts.environment as cell,
        'nothing was ever received from the environment ' || cohorts.environment as problem,
        'write it as in the webhook''s URL' as remedy
    from cohorts
    left join {{ ref('int_environments') }} as environments on cohorts.environment = environments.environment
    where cohorts.environment is not null and environments.environment is null

    union all

    select
        cast(null as bigint) as row_number,
        'mirrors_segment' as column_name,
        cohorts.cohort_key,
        coalesce(cohorts.mirrors_segment_name, cast(cohorts.mirrors_segment_id as string)) as cell,
        'no delivery carried the segment '
            || coalesce(cohorts.mirrors_segment_name, cast(cohorts.mirrors_segment_id as string)) as problem,
        'write the segment''s id or name as in Flagsmith' as remedy
    from cohorts
    left join segments
        on cohorts.mirrors_segment_id = segments.segment_id or cohorts.mirrors_segment_name = segments.segment_name
    where coalesce(cohorts.mirrors_segment_name, cast(cohorts.mirrors_segment_id as string)) is not null
        and segments.segment_id is null

)

select
    severity,
    declared_in,
    row_number,
    column_name,

    cohort_key,
    cell,
    problem,
    remedy
from {{ ref('int_cohort_problems') }}

union all

select
    'warning' as severity,
    'dbt_project.yml' as declared_in,
    row_number,
    column_name,

    cohort_key,
    cell,
    problem,
    remedy
from unseen
