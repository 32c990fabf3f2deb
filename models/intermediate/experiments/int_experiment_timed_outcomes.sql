{{ config(materialized='table_in_place') }}

with {{ events_of_identities("metrics.aggregation in ('days', 'hours_to_first')") }}

-- A day counts once, whatever happened in it; and until the change if any of its events came before. Of a first event only
-- the first counts, until the change if it came before.
select
    identity_number,
    metric_number,
    cast(min(occurred_at) as date) as day,
    bool_or(is_until_change) as is_until_change,

    case
        when aggregation = 'days' then 1e0
        else {{ hours_between('min(first_exposed_at)', 'min(occurred_at)') }}
    end as outcome_sum,
    1 as outcome_count,
    case when aggregation = 'days' then 0e0 else 1e0 end as denominator_sum,

    min(occurred_at) as first_occurred_at,
    case when aggregation = 'days' then max(occurred_at) else min(occurred_at) end as last_occurred_at
from events_of_identities
group by identity_number, metric_number, aggregation, case when aggregation = 'days' then cast(occurred_at as date) end
