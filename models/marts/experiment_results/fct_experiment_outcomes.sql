{{ config(materialized='view_in_place') }}

select
    identities.experiment_key,
    identities.identity,
    metrics.metric_key,
    outcomes.day,
    outcomes.is_until_change,

    outcomes.outcome_sum,
    outcomes.outcome_count,
    outcomes.denominator_sum,

    outcomes.first_occurred_at,
    outcomes.last_occurred_at
from {{ ref('int_experiment_outcomes') }} as outcomes
inner join {{ ref('int_experiment_assignments') }} as identities on outcomes.identity_number = identities.identity_number
inner join {{ ref('int_experiment_metrics') }} as metrics on outcomes.metric_number = metrics.metric_number
