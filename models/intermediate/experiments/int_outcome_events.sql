{{ config(materialized=kept_unless_checked()) }}

-- Not from int_outcomes: `flagsmith-warehouse check` has built nothing.
select
    event_name,
    unusable_column,

    count(*) as outcomes,
    min(unusable_cell) as cell
from ({{ typed_outcomes() }}) as outcomes
group by event_name, unusable_column
