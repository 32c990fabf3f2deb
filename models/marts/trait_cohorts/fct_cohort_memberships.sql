{{ config(
    pre_hook="{{ find_changed_identities() }}",
    meta={
        'built_from': ['int_deliveries', 'fct_identity_traits', 'dim_identities'],
        'vars': ['cohorts', 'flagsmith_environments'],
        'is_made_of_what_is_left': true,
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

{%- if is_pruned() %},

left_over as (

    -- Traits from before retention's cutoff may be gone: a membership that lasts beyond it began when it was known to,
    -- or, for a cohort that is new, at the cutoff at the latest.
    select
        memberships.environment,
        memberships.cohort_key,
        memberships.identity,
        case
            when memberships.entered_at >= {{ pruned_before('memberships.environment') }} then memberships.entered_at
            {%- if builds_on_itself() %}
            when known.entered_at is not null then known.entered_at
            {%- endif %}
            else {{ pruned_before('memberships.environment') }}
        end as entered_at,
        memberships.left_at
    from memberships
    {%- if builds_on_itself() %}
    left join {{ this }} as known
        on
            memberships.environment = known.environment
            and memberships.cohort_key = known.cohort_key
            and memberships.identity = known.identity
            and known.entered_at < {{ pruned_before('memberships.environment') }}
            and (known.left_at > {{ pruned_before('memberships.environment') }} or known.left_at is null)
    {%- endif %}
    where memberships.left_at > {{ pruned_before('memberships.environment') }} or memberships.left_at is null

)
{%- endif %}

select
    environment,
    cohort_key,
    identity,

    left_at is null as is_current,

    entered_at,
    left_at
from {{ 'left_over' if is_pruned() else 'memberships' }}
