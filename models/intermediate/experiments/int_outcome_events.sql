{{ config(materialized=kept_unless_checked()) }}

-- Not from int_outcomes: `flagsmith-warehouse check` has built nothing.
select
    {{ text_literal(outcomes_declared_in()) }} as declared_in,
    event_name,
    unusable_column,

    count(*) as outcomes,
    min(unusable_cell) as cell
from ({{ typed_outcomes() }}) as outcomes
group by event_name, unusable_column
{%- if reads_flagsmith_events() %}

union all

select
    {{ text_literal(var('flagsmith_events_table') | string) }} as declared_in,
    event_name,
    unusable_column,

    count(*) as outcomes,
    min(unusable_cell) as cell
from {{ ref('int_flagsmith_outcomes') }}
group by event_name, unusable_column
{%- endif %}
