{{ config(materialized='table') }}

select
    treatment.experiment_key,
    treatment.metric_key,
    treatment.variation,
    treatment.population,
    treatment.day,
    treatment.alpha,
    treatment.sequential_tuning,
    treatment.is_lower_better,
    treatment.prior_mean,
    treatment.prior_standard_deviation,
    treatment.prior_type,
    treatment.has_before,
    control.n as control_n,
    treatment.n,
    control.mean as control_mean,
    treatment.mean,
    control.variance as control_variance,
    treatment.variance,
    control.before_mean as control_before_mean,
    treatment.before_mean,
    control.before_variance as control_before_variance,
    treatment.before_variance,
    control.before_covariance as control_before_covariance,
    treatment.before_covariance,
    control.n + treatment.n as joint_n,
    {{ sample_variance(
        '(control.outcome_sum + treatment.outcome_sum)',
        '(control.outcome_sum_squares + treatment.outcome_sum_squares)',
        '(control.n + treatment.n)', 'treatment.is_proportion'
    ) }} as joint_outcome_variance,
    {{ sample_variance(
        '(control.before_sum + treatment.before_sum)',
        '(control.before_sum_squares + treatment.before_sum_squares)',
        '(control.n + treatment.n)', 'treatment.is_proportion'
    ) }} as joint_before_variance,
    {{ sample_covariance(
        '(control.outcome_sum + treatment.outcome_sum)', '(control.before_sum + treatment.before_sum)',
        '(control.outcome_before_products + treatment.outcome_before_products)',
        '(control.n + treatment.n)'
    ) }} as joint_before_covariance
from {{ ref('int_experiment_moments') }} as treatment
inner join {{ ref('int_experiment_moments') }} as control
    on
        treatment.experiment_key = control.experiment_key
        and treatment.metric_key = control.metric_key
        and treatment.population = control.population
        and treatment.day is not distinct from control.day
        and control.variation = control.control_variation
where treatment.variation <> treatment.control_variation
