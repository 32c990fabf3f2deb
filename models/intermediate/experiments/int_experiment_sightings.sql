{{ config(materialized='view_in_place') }}

{%- set is_mapped = has_identity_map() %}

with features as (

    select
        experiments.experiment_key,
        experiments.environment,
        experiments.assignment_reason,
        experiments.has_off_as_arm,
        experiments.started_at,
        experiments.ended_at,
        features.feature_id
    from {{ ref('int_experiment_declarations') }} as experiments
    inner join {{ ref('int_experiment_features') }} as features on experiments.experiment_key = features.experiment_key
    where experiments.problem is null and features.is_under_experiment

),

shown as (

    -- What each distinct set of flags says of the features under experiment.
    select flags_hash, feature_id, variation, enabled, assignment_reason, percentage_allocation
    from {{ ref('int_flag_set_elements') }}
    where feature_id in (select feature_id from features)

)
{%- if is_mapped %},

test_users as (
    {{ test_users() }}
)
{%- endif %}

select
    features.experiment_key,
    {{ 'coalesce(users.user_id, deliveries.identity)' if is_mapped else 'deliveries.identity' }} as identity,
    deliveries.identity as evaluated_identity,
    deliveries.delivery_id,

    shown.variation,
    shown.assignment_reason,
    shown.enabled or features.has_off_as_arm as is_evaluation,
    -- A disabled flag carries the weight of the variation that it would give, so the weight is left out.
    case when shown.enabled then shown.percentage_allocation end as percentage_allocation,
    -- Identities outside a rollout look like control; only the declared reason is the experiment.
    shown.assignment_reason = features.assignment_reason as is_within_experiment,

    deliveries.received_at
from features
inner join {{ ref('int_deliveries') }} as deliveries
    on
        features.environment = deliveries.environment
        and features.started_at <= deliveries.received_at
        and (features.ended_at > deliveries.received_at or features.ended_at is null)
inner join shown
    on deliveries.flags_hash = shown.flags_hash and features.feature_id = shown.feature_id
left join {{ ref('int_superseded_evaluations') }} as superseded on deliveries.delivery_id = superseded.delivery_id
{%- if is_mapped %}
left join {{ ref('int_declared_identity_map') }} as users on deliveries.identity = users.identity
{%- endif %}
where
    deliveries.kind = 'evaluation'
    and not deliveries.is_test_identity
    and superseded.delivery_id is null
    {%- if is_mapped %}
    and not exists (
        select 1
        from test_users
        where
            coalesce(users.user_id, deliveries.identity) = test_users.identity
            and (deliveries.environment = test_users.environment or test_users.environment is null)
    )
    {%- endif %}
