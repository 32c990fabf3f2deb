{{ config(materialized='table_in_place') }}

with {{ events_of_identities("metrics.aggregation not in ('days', 'hours_to_first')") }}

select
    identity_number,
    metric_number,
    cast(occurred_at as date) as day,
    is_until_change,

    coalesce(sum(case when is_outcome then value end), 0e0) as outcome_sum,
    count(case when is_outcome then value end) as outcome_count,
    coalesce(sum(case when not is_outcome then value end), 0e0) as denominator_sum,

    -- Of a ratio, the time of the outcome, unless there is only a denominator.
    coalesce(min(case when is_outcome and value is not null then occurred_at end), min(occurred_at)) as first_occurred_at,
    coalesce(max(case when is_outcome and value is not null then occurred_at end), max(occurred_at)) as last_occurred_at
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
