{{ config(materialized='table_in_place') }}

with first_times as (

    select experiment_key, identity, min(received_at) as first_exposed_at
    from {{ ref('int_experiment_evaluations') }}
    where is_within_experiment
    group by experiment_key, identity

)

select
    first_times.experiment_key,
    first_times.identity,
    -- Two identities of one person may be evaluated in the same microsecond.
    max_by(evaluations.variation, evaluations.delivery_id) as variation,
    max_by(evaluations.evaluated_identity, evaluations.delivery_id) as first_identity,
    first_times.first_exposed_at
from first_times
inner join {{ ref('int_experiment_evaluations') }} as evaluations
    on
        first_times.experiment_key = evaluations.experiment_key
        and first_times.identity = evaluations.identity
        and first_times.first_exposed_at = evaluations.received_at
where evaluations.is_within_experiment
group by first_times.experiment_key, first_times.identity, first_times.first_exposed_at
