{{ config(materialized='view_in_place') }}

{%- set is_mapped = has_identity_map() %}

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
inner join
    {% if is_mapped -%}
    (
        select spells.environment, coalesce(users.user_id, spells.identity) as identity
        from {{ ref('int_state_spells') }} as spells
        left join {{ ref('int_declared_identity_map') }} as users on spells.identity = users.identity
    ) as known
    {%- else -%}
    {{ ref('int_state_spells') }} as known
    {%- endif %}
    on assignments.identity = known.identity and experiments.environment <> known.environment
where {{ 'false' if conversion_events_have_environment() else 'true' }}
group by experiments.experiment_key
