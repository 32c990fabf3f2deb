{{ config(materialized='table_in_place') }}

with arms as (

    select
        statistics.experiment_key,
        statistics.metric_key,
        statistics.variation,
        statistics.population,
        statistics.epoch,
        statistics.day,
        statistics.dimension,
        statistics.dimension_value,
        experiments.control_variation,
        metrics.aggregation = 'occurrence' as is_proportion,
        metrics.aggregation = 'ratio' as is_ratio,
        metrics.before_days is not null and metrics.aggregation <> 'ratio' as has_before,
        experiments.alpha,
        experiments.sequential_tuning,
        metrics.is_lower_better,
        metrics.prior_mean,
        metrics.prior_standard_deviation,
        metrics.prior_type,
        cast(statistics.identities as double) as n,
        statistics.outcome_sum,
        statistics.outcome_sum_squares,
        statistics.denominator_sum,
        statistics.denominator_sum_squares,
        statistics.outcome_denominator_products,
        statistics.before_sum,
        statistics.before_sum_squares,
        statistics.outcome_before_products
    from {{ ref('int_experiment_strata') }} as statistics
    inner join {{ ref('int_experiments') }} as experiments on statistics.experiment_key = experiments.experiment_key
    inner join {{ ref('int_experiment_metrics') }} as metrics
        on statistics.experiment_key = metrics.experiment_key and statistics.metric_key = metrics.metric_key

),

moments as (

    select
        *,
        coalesce(outcome_sum / nullif(n, 0), 0) as outcome_mean,
        coalesce(denominator_sum / nullif(n, 0), 0) as denominator_mean,
        coalesce(before_sum / nullif(n, 0), 0) as before_mean,
        {{ sample_variance('outcome_sum', 'outcome_sum_squares', 'n', 'is_proportion') }} as outcome_variance,
        {{ sample_variance('denominator_sum', 'denominator_sum_squares', 'n', 'false') }} as denominator_variance,
        {{ sample_variance('before_sum', 'before_sum_squares', 'n', 'is_proportion') }} as before_variance,
        {{ sample_covariance('outcome_sum', 'denominator_sum', 'outcome_denominator_products', 'n') }}
            as denominator_covariance,
        {{ sample_covariance('outcome_sum', 'before_sum', 'outcome_before_products', 'n') }} as before_covariance
    from arms

)

select *
from moments
