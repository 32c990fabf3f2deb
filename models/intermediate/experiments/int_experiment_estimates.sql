{{ config(materialized='view_in_place') }}

select
    lifts.experiment_key,
    lifts.metric_key,
    lifts.variation,
    lifts.population,
    lifts.day,
    lifts.dimension,
    lifts.dimension_value,
    lifts.adjustment,
    lifts.difference,

    lifts.frequentist_status,
    lifts.bayesian_status,
    lifts.theta,

    lifts.lift,
    lifts.standard_error,
    case when lifts.frequentist_status = 'ok' then lifts.degrees_of_freedom end as degrees_of_freedom,
    intervals.low,
    intervals.high,
    intervals.p_value,

    intervals.sequential_low,
    intervals.sequential_high,
    intervals.sequential_p_value,

    posteriors.bayesian_lift,
    posteriors.bayesian_low,
    posteriors.bayesian_high,
    posteriors.chance_to_win,
    posteriors.loss_of_control,
    posteriors.loss_of_variation
from {{ ref('int_experiment_lifts') }} as lifts
left join {{ ref('int_experiment_intervals') }} as intervals
    on
        lifts.experiment_key = intervals.experiment_key
        and lifts.metric_key = intervals.metric_key
        and lifts.variation = intervals.variation
        and lifts.population = intervals.population
        and {{ same_slice('lifts', 'intervals') }}
        and lifts.adjustment = intervals.adjustment
        and lifts.difference = intervals.difference
left join {{ ref('int_experiment_posteriors') }} as posteriors
    on
        lifts.experiment_key = posteriors.experiment_key
        and lifts.metric_key = posteriors.metric_key
        and lifts.variation = posteriors.variation
        and lifts.population = posteriors.population
        and {{ same_slice('lifts', 'posteriors') }}
        and lifts.adjustment = posteriors.adjustment
        and lifts.difference = posteriors.difference
