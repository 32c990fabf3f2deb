{{ config(materialized='table_in_place') }}

with declared as (
    {{ typed_rows('metrics') }}
)

select
    metric_key,
    name,
    description,
    unit,

    event_name,
    aggregation,
    coalesce(numerator_aggregation, 'count') as numerator_aggregation,
    case when aggregation = 'ratio' then denominator_event_name end as denominator_event_name,
    coalesce(denominator_aggregation, 'count') as denominator_aggregation,
    direction,
    conversion_window_hours,
    window_start_hours,
    winsorise_percentile,
    minimum_sample,
    before_days,
    prior_mean,
    prior_standard_deviation,
    coalesce(prior_type, 'relative') as prior_type,
    margin
from declared
where {{ is_in_order('metrics', 'declared') }}
