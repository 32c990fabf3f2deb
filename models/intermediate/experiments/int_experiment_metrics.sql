{{ config(materialized='table_in_place') }}

with computed as (

    -- Each correctly declared experiment with each of its correctly declared metrics.
    select
        links.experiment_key,
        links.metric_key,
        -- What people call it.
        coalesce(metrics.name, replace(links.metric_key, '_', ' ')) as metric_name,
        links.role,
        cast(links.target_lift as double) as target_lift,
        metrics.event_name,
        metrics.aggregation,
        -- hours_to_first is divided by the number of those who had the event.
        metrics.aggregation in ('ratio', 'hours_to_first') as is_ratio,
        metrics.quantile,
        metrics.numerator_aggregation,
        metrics.aggregation in ('sum', 'mean', 'quantile')
        or (metrics.aggregation = 'ratio' and metrics.numerator_aggregation = 'sum') as reads_values,
        metrics.denominator_event_name,
        metrics.denominator_aggregation,
        metrics.direction = 'lower_is_better' as is_lower_better,
        cast(metrics.conversion_window_hours as double) as conversion_window_hours,
        cast(metrics.window_start_hours as double) as window_start_hours,
        cast(metrics.winsorise_percentile as double) as winsorise_percentile,
        greatest(coalesce(metrics.minimum_sample, 0), 50) as minimum_sample,
        cast(metrics.before_days as double) as before_days,
        coalesce(cast(metrics.prior_mean as double), 0e0) as prior_mean,
        cast(metrics.prior_standard_deviation as double) as prior_standard_deviation,
        metrics.prior_type,
        coalesce(cast(links.margin as double), cast(metrics.margin as double)) as margin,
        -- An identity counts once its window has passed or, where the window has no end, has begun: before the experiment ended,
        -- because no outcome counts later.
        coalesce(cast(metrics.conversion_window_hours as double), cast(metrics.window_start_hours as double), 0e0)
            as hours_to_maturity,
        least(experiments.last_received_at, coalesce(experiments.ended_at, experiments.last_received_at)) as counted_until
    from {{ ref('int_declared_experiment_metrics') }} as links
    inner join {{ ref('int_declared_metrics') }} as metrics on links.metric_key = metrics.metric_key
    inner join {{ ref('int_experiments') }} as experiments on links.experiment_key = experiments.experiment_key
    where experiments.status <> 'invalid'

)

select
    experiment_key,
    metric_key,

    {{ text_number(text_of(['experiment_key', 'metric_key'])) }} as metric_number,
    metric_name,
    role,
    target_lift,
    event_name,
    aggregation,
    is_ratio,
    quantile,
    numerator_aggregation,
    reads_values,
    denominator_event_name,
    denominator_aggregation,
    is_lower_better,
    conversion_window_hours,
    window_start_hours,
    hours_to_maturity,
    {{ plus_hours('counted_until', '-hours_to_maturity') }} as last_matured_at,
    winsorise_percentile,
    minimum_sample,
    before_days,
    prior_mean,
    prior_standard_deviation,
    prior_type,
    margin
from computed
