{{ config(
    pre_hook="{{ find_changed_identities() }}",
    meta={
        'built_from': ['int_deliveries', 'fct_identity_traits', 'dim_identities'],
        'vars': ['cohorts', 'flagsmith_environments'],
        'replaces': 'target.environment = changed.environment and target.identity = changed.identity',
    },
) }}

-- depends_on: {{ ref('int_deliveries') }}

with memberships as (

    {% if builds_on_itself() -%}
    {%- set of_changed = 'where (environment, identity) in (select (environment, identity) from ' ~ changed() ~ ')' -%}
    {{ cohort_memberships(
        cohorts(),
        '(select * from ' ~ ref('fct_identity_traits') ~ ' ' ~ of_changed ~ ') as traits',
        '(select * from ' ~ ref('dim_identities') ~ ' ' ~ of_changed ~ ') as identities'
    ) }}
    {%- else -%}
    {{ cohort_memberships(cohorts(), ref('fct_identity_traits'), ref('dim_identities')) }}
    {%- endif %}

)

select
    environment,
    cohort_key,
    identity,

    left_at is null as is_current,

    entered_at,
    left_at
from memberships
