{{ config(materialized='table_in_place') }}

select
    metric_key,
    name,
    description,
    unit,

    event_name,
    aggregation,
    quantile,
    denominator_event_name,
    direction,
    conversion_window_hours,
    window_start_hours,
    winsorise_percentile,
    before_days,
    margin
from {{ ref('int_declared_metrics') }}
