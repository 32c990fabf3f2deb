{{ config(materialized='table_in_place') }}

with named as (

    select
        flags_hash,
        feature_id,
        feature_name
    from {{ ref('int_flag_set_elements') }}
    where feature_name in (select feature_name from {{ ref('int_experiment_declarations') }})

),

carried as (

    select
        experiments.experiment_key,
        named.feature_id,
        deliveries.delivery_id,
        deliveries.received_at
    from {{ ref('int_experiment_declarations') }} as experiments
    inner join {{ ref('int_deliveries') }} as deliveries
        on
            experiments.environment = deliveries.environment
            and experiments.started_at <= deliveries.received_at
            and (experiments.ended_at > deliveries.received_at or experiments.ended_at is null)
    inner join named
        on deliveries.flags_hash = named.flags_hash and experiments.feature_name = named.feature_name
    where
        experiments.problem is null
        and deliveries.kind = 'evaluation'
        and not deliveries.is_test_identity

),

first_times as (

    select
        experiment_key,
        feature_id,
        min(received_at) as first_named_at
    from carried
    group by experiment_key, feature_id

),

first_deliveries as (

    select
        first_times.experiment_key,
        first_times.feature_id,
        first_times.first_named_at,
        min(carried.delivery_id) as first_delivery_id
    from first_times
    inner join carried
        on
            first_times.experiment_key = carried.experiment_key
            and first_times.feature_id = carried.feature_id
            and first_times.first_named_at = carried.received_at
    group by first_times.experiment_key, first_times.feature_id, first_times.first_named_at

)

select
    experiment_key,
    feature_id,

    -- Names change hands. The feature that had the declared name first is under experiment, whatever it is called later.
    row_number() over (
        partition by experiment_key order by first_named_at, first_delivery_id, feature_id
    ) = 1 as is_under_experiment,

    first_named_at
from first_deliveries
