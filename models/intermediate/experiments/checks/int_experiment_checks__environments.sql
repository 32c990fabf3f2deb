{{ config(materialized='view_in_place') }}

-- Outcomes that do not say in which environment they happened count in each environment that knows their identity.
select
    experiments.experiment_key,
    0 as epoch,
    'identities_in_several_environments' as check_name,
    'some' as finding,
    count(distinct assignments.identity) as value,
    {{ check_threshold('identities_in_several_environments') }} as threshold,
    count(distinct assignments.identity) as affected,
    cast(null as bigint) as total,
    cast(null as string) as detail
from {{ ref('int_experiment_assignments') }} as assignments
inner join {{ ref('int_experiments') }} as experiments on assignments.experiment_key = experiments.experiment_key
inner join {{ ref('int_state_spells') }} as known
    on assignments.identity = known.identity and experiments.environment <> known.environment
where {{ 'false' if conversion_events_have_environment() else 'true' }}
group by experiments.experiment_key
