{{ config(materialized='table_in_place') }}

with {{ events_of_identities("metrics.aggregation not in ('days', 'hours_to_first')") }}

select
    identity_number,
    metric_number,
    cast(occurred_at as date) as day,
    is_until_change,

    coalesce(sum(value), 0e0) as outcome_sum,
    count(value) as outcome_count,
    coalesce(sum(denominator), 0e0) as denominator_sum,

    min(case when value is not null then occurred_at end) as first_occurred_at,
    max(case when value is not null then occurred_at end) as last_occurred_at
from events_of_identities
group by identity_number, metric_number, cast(occurred_at as date), is_until_change

union all

select
    identity_number,
    metric_number,
    day,
    is_until_change,

    outcome_sum,
    outcome_count,
    denominator_sum,

    first_occurred_at,
    last_occurred_at
from {{ ref('int_experiment_timed_outcomes') }}
