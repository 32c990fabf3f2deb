{{ config(materialized='table') }}

with first_times as (

    select experiment_key, identity, min(received_at) as first_exposed_at
    from {{ ref('int_experiment_evaluations') }}
    where is_within_experiment
    group by experiment_key, identity

),

assigned as (

    select
        first_times.experiment_key,
        first_times.identity,
        first_times.first_exposed_at,
        evaluations.variation
    from first_times
    inner join {{ ref('int_experiment_evaluations') }} as evaluations
        on
            first_times.experiment_key = evaluations.experiment_key
            and first_times.identity = evaluations.identity
            and first_times.first_exposed_at = evaluations.received_at
    where evaluations.is_within_experiment

),

contradicted as (

    -- Once assigned, any other variation counts against the identity, for whatever reason it got it.
    select
        assigned.experiment_key,
        assigned.identity,
        min(evaluations.received_at) as contradicted_at
    from assigned
    inner join {{ ref('int_experiment_evaluations') }} as evaluations
        on
            assigned.experiment_key = evaluations.experiment_key
            and assigned.identity = evaluations.identity
            and assigned.first_exposed_at < evaluations.received_at
            and assigned.variation <> evaluations.variation
    group by all

),

explained as (

    -- The spell that began when the other variation was first seen says why. It is found by the feature's id: a spell is
    -- shown under the last name that the feature had.
    select
        contradicted.experiment_key,
        contradicted.identity,
        contradicted.contradicted_at,
        coalesce(any_value(spells.change_reason), 'unknown') as quarantine_reason,
        any_value(spells.variation) as other_variation
    from contradicted
    inner join {{ ref('int_experiments') }} as experiments on contradicted.experiment_key = experiments.experiment_key
    inner join {{ ref('int_experiment_features') }} as features
        on contradicted.experiment_key = features.experiment_key and features.is_under_experiment
    left join {{ ref('fct_flag_assignments') }} as spells
        on
            experiments.environment = spells.environment
            and contradicted.identity = spells.identity
            and features.feature_id = spells.feature_id
            and contradicted.contradicted_at = spells.valid_from
    group by all

),

activated as (

    select
        assigned.experiment_key,
        assigned.identity,
        min(events.occurred_at) as activated_at
    from assigned
    inner join {{ ref('int_experiments') }} as experiments on assigned.experiment_key = experiments.experiment_key
    inner join {{ ref('int_outcomes') }} as events
        on
            experiments.activation_event = events.event_name
            and assigned.identity = events.identity
            and assigned.first_exposed_at <= events.occurred_at
            and (experiments.ended_at > events.occurred_at or experiments.ended_at is null)
            and experiments.last_received_at >= events.occurred_at
    where events.environment = experiments.environment or events.environment is null
    group by all

),

epochs as (

    select distinct experiment_key, epoch, valid_from, valid_to
    from {{ ref('int_experiment_epochs') }}

)

select
    assigned.experiment_key,
    assigned.identity,

    assigned.variation,
    epochs.epoch,
    explained.identity is not null as is_quarantined,
    explained.quarantine_reason,
    explained.other_variation,

    assigned.first_exposed_at,
    explained.contradicted_at,
    activated.activated_at
from assigned
inner join epochs
    on
        assigned.experiment_key = epochs.experiment_key
        and assigned.first_exposed_at >= epochs.valid_from
        and (assigned.first_exposed_at < epochs.valid_to or epochs.valid_to is null)
left join explained
    on assigned.experiment_key = explained.experiment_key and assigned.identity = explained.identity
left join activated
    on assigned.experiment_key = activated.experiment_key and assigned.identity = activated.identity
