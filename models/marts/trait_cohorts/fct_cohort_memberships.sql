{{ config(meta={
    'replaces': 'identity',
    'vars': ['cohorts', 'flagsmith_environments'],
    'retention': {'ended': 'left_at', 'is_remade': true},
}) }}

with memberships as (

    {{ cohort_memberships(
        cohorts(), changed('fct_identity_traits') ~ ' as traits', changed('dim_identities') ~ ' as identities'
    ) }}

)

{%- if is_pruned() %},

left_over as (

    -- Traits from before retention's cutoff may be gone. A membership that lasts beyond the cutoff keeps its recorded beginning.
    -- In a new cohort it begins at the cutoff.
    select
        memberships.environment,
        memberships.cohort_key,
        memberships.identity,
        case
            when memberships.entered_at >= {{ pruned_before('memberships.environment') }} then memberships.entered_at
            when known.entered_at is not null then known.entered_at
            else {{ pruned_before('memberships.environment') }}
        end as entered_at,
        memberships.left_at
    from memberships
    left join {{ known() }} as known
        on
            memberships.environment = known.environment
            and memberships.cohort_key = known.cohort_key
            and memberships.identity = known.identity
            and known.entered_at < {{ pruned_before('memberships.environment') }}
            and (known.left_at > {{ pruned_before('memberships.environment') }} or known.left_at is null)
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
