{{ config(materialized='table_in_place') }}

with declared as (
    {{ typed_rows('experiment_metrics') }}
)

select
    experiment_key,
    metric_key,

    role,
    target_lift,
    margin
from declared
where {{ is_in_order('experiment_metrics', 'declared') }}
