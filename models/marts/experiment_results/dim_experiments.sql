{{ config(materialized='table_in_place') }}

with last_changes as (

    -- The last change of the flag between the last evaluation of the split and the first of the stop, as Flagsmith's
    -- webhooks about changes tell it. An earlier change did not stop the split. The webhooks may arrive a minute early or late.
    select
        experiments.experiment_key,
        max_by(changes.changed_by, (changes.received_at, changes.delivery_id)) as changed_by,
        max_by(coalesce(changes.new_enabled, true), (changes.received_at, changes.delivery_id)) as is_enabled
    from {{ ref('int_experiments') }} as experiments
    inner join {{ ref('int_experiment_features') }} as features
        on experiments.experiment_key = features.experiment_key and features.is_under_experiment
    inner join {{ ref('int_experiment_stops') }} as stops
        on experiments.experiment_key = stops.experiment_key and stops.is_end
    inner join {{ ref('fct_flag_changes') }} as changes
        on
            experiments.environment = changes.environment
            and features.feature_id = changes.feature_id
            and changes.received_at >= {{ plus_hours('stops.split_last_seen_at', '-' ~ spread_hours()) }}
            and changes.received_at <= {{ plus_hours('stops.began_at', spread_hours()) }}
    where
        changes.identity is null
        and (changes.segment_id is not null)
        = (experiments.assignment_reason = 'segment_override' or experiments.end_reason = 'reason_changed')
    group by experiments.experiment_key

)

select
    experiments.experiment_key,
    experiments.environment,
    experiments.feature_name,
    experiments.name,
    experiments.description,

    experiments.control_variation,
    experiments.assignment_reason,
    experiments.expected_weights,
    experiments.activation_event,
    experiments.alpha,
    experiments.decision_method,
    experiments.sequential_tuning,
    experiments.power,
    experiments.primary_population,

    experiments.status,
    experiments.end_reason,
    case
        when experiments.end_reason = 'reason_changed' or last_changes.is_enabled = (experiments.end_reason = 'one_variation')
            then last_changes.changed_by
    end as ended_by,
    experiments.problem,

    experiments.started_at,
    experiments.ended_at,
    experiments.last_received_at
from {{ ref('int_experiments') }} as experiments
left join last_changes on experiments.experiment_key = last_changes.experiment_key
