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
        metrics.is_ratio,
        metrics.quantile is not null as is_quantile,
        metrics.before_days is not null and not metrics.is_ratio as has_before,
        experiments.alpha,
        experiments.sequential_tuning,
        metrics.is_lower_better,
        metrics.prior_mean,
        metrics.prior_standard_deviation,
        metrics.prior_type,
        statistics.identities,
        -- A quantile is of events, not of identities.
        case
            when metrics.quantile is null then cast(statistics.identities as double)
            else coalesce(quantiles.events, 0e0)
        end as n,
        case when metrics.quantile is null then statistics.identities >= 2 else coalesce(quantiles.is_comparable, false) end
            as is_comparable,
        quantiles.quantile_value,
        quantiles.variance as quantile_variance,
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
    left join {{ ref('int_experiment_quantiles') }} as quantiles
        on
            statistics.experiment_key = quantiles.experiment_key
            and statistics.metric_key = quantiles.metric_key
            and statistics.variation = quantiles.variation
            and statistics.population = quantiles.population
            and statistics.epoch = quantiles.epoch

),

moments as (

    select
        *,
        case
            when is_quantile then coalesce(quantile_value, 0e0)
            else coalesce(outcome_sum / nullif(n, 0), 0)
        end as outcome_mean,
        coalesce(denominator_sum / nullif(n, 0), 0) as denominator_mean,
        coalesce(before_sum / nullif(n, 0), 0) as before_mean,
        case
            when is_quantile then coalesce(quantile_variance, 0e0)
            else ({{ sample_variance('outcome_sum', 'outcome_sum_squares', 'n', 'is_proportion') }})
        end as outcome_variance,
        {{ sample_variance('denominator_sum', 'denominator_sum_squares', 'n', 'false') }} as denominator_variance,
        {{ sample_variance('before_sum', 'before_sum_squares', 'n', 'is_proportion') }} as before_variance,
        {{ sample_covariance('outcome_sum', 'denominator_sum', 'outcome_denominator_products', 'n') }}
            as denominator_covariance,
        {{ sample_covariance('outcome_sum', 'before_sum', 'outcome_before_products', 'n') }} as before_covariance
    from arms

)

select *
from moments
