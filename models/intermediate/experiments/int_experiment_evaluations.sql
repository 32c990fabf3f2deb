{{ config(materialized='view') }}

with shown as (

    -- What each distinct set of flags says of the features under experiment.
    select flags_hash, feature_name, variation, assignment_reason, percentage_allocation
    from {{ ref('int_flag_set_elements') }}
    where feature_name in (select feature_name from {{ ref('dim_experiments') }})

)

select
    experiments.experiment_key,
    deliveries.identity,
    deliveries.delivery_id,

    shown.variation,
    shown.percentage_allocation,
    -- Identities outside a rollout look like control; only the declared reason is the experiment.
    shown.assignment_reason = experiments.assignment_reason as is_within_experiment,

    deliveries.received_at
from {{ ref('dim_experiments') }} as experiments
inner join {{ ref('int_deliveries') }} as deliveries
    on
        experiments.environment = deliveries.environment
        and experiments.started_at <= deliveries.received_at
        and (experiments.ended_at > deliveries.received_at or experiments.ended_at is null)
inner join shown
    on deliveries.flags_hash = shown.flags_hash and experiments.feature_name = shown.feature_name
where
    experiments.status <> 'invalid'
    and deliveries.kind = 'evaluation'
    and not deliveries.is_test_identity
