{{ config(materialized='table_in_place') }}

with contradicted as (

    -- Once assigned, any other variation counts against the identity, for whatever reason it got it.
    select
        assigned.experiment_key,
        assigned.identity,
        assigned.variation,
        assigned.first_exposed_at,
        min_by(evaluations.evaluated_identity, evaluations.received_at) as contradicting_identity,
        min(evaluations.received_at) as contradicted_at
    from {{ ref('int_experiment_first_exposures') }} as assigned
    inner join {{ ref('int_experiment_evaluations') }} as evaluations
        on
            assigned.experiment_key = evaluations.experiment_key
            and assigned.identity = evaluations.identity
            and assigned.first_exposed_at < evaluations.received_at
            and assigned.variation <> evaluations.variation
    group by assigned.experiment_key, assigned.identity, assigned.variation, assigned.first_exposed_at

),

sightings as (

    -- The feature in the contradicting evaluation (place 1) and in that identity's one before it (place 2), even if it was off.
    select
        contradicted.experiment_key,
        contradicted.identity,
        contradicted.contradicted_at,
        elements.variation,
        elements.enabled,
        elements.assignment_reason,
        elements.percentage_allocation,
        row_number() over (
            partition by contradicted.experiment_key, contradicted.identity order by deliveries.received_at desc
        ) as place,
        max(
            case
                when deliveries.received_at < contradicted.first_exposed_at then 0
                when elements.variation = contradicted.variation then 1
                else 0
            end
        ) over (partition by contradicted.experiment_key, contradicted.identity) as has_had_assigned
    from contradicted
    inner join {{ ref('int_experiments') }} as experiments on contradicted.experiment_key = experiments.experiment_key
    inner join {{ ref('int_experiment_features') }} as features
        on contradicted.experiment_key = features.experiment_key and features.is_under_experiment
    inner join {{ ref('int_deliveries') }} as deliveries
        on
            experiments.environment = deliveries.environment
            and contradicted.contradicting_identity = deliveries.identity
            and contradicted.contradicted_at >= deliveries.received_at
    inner join {{ ref('int_flag_set_elements') }} as elements
        on deliveries.flags_hash = elements.flags_hash and features.feature_id = elements.feature_id
    left join {{ ref('int_superseded_evaluations') }} as superseded on deliveries.delivery_id = superseded.delivery_id
    where deliveries.kind = 'evaluation' and not deliveries.is_test_identity and superseded.delivery_id is null

),

reasons as (

    select
        later.experiment_key,
        later.identity,
        later.variation as other_variation,
        later.has_had_assigned = 0 as is_of_other_identity,
        {{ flag_change_reason('earlier', 'later') }} as change_reason,
        later.contradicted_at
    from sightings as later
    left join sightings as earlier
        on later.experiment_key = earlier.experiment_key and later.identity = earlier.identity and earlier.place = 2
    where later.place = 1

)

select
    experiment_key,
    identity,

    other_variation,
    -- Of another identity of the person, which never had the variation that the person was assigned.
    case when is_of_other_identity then 'other_identity' else change_reason end as quarantine_reason,

    contradicted_at
from reasons
