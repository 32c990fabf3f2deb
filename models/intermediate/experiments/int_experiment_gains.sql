{{ config(materialized='table_in_place') }}

{%- set totals = ['outcome_sum', 'outcome_count', 'denominator_sum', 'before_sum', 'before_count'] -%}
with running as (

    -- What each identity had until the day (earlier_) and has with it.
    select
        outcomes.identity_number,
        outcomes.metric_number,
        outcomes.day,
        outcomes.is_until_change
        {%- for total in totals %},
        outcomes.{{ total }},
        coalesce(sum(outcomes.{{ total }}) over earlier_days, 0) as earlier_{{ total }}
        {%- endfor %}
    from {{ ref('int_experiment_outcomes') }} as outcomes
    window earlier_days as (
        partition by outcomes.metric_number, outcomes.identity_number
        order by outcomes.day asc, outcomes.is_until_change desc
        rows between unbounded preceding and 1 preceding
    )

),

values_of_identities as (

    select
        running.metric_number,
        identities.variation,
        running.day,
        running.is_until_change,
        identities.epoch,
        identities.is_quarantined,
        cast(identities.first_exposed_at as date) as first_exposed_on,
        cast(identities.activated_at as date) as activated_on,
        caps.cap
        {%- for when in ['', 'earlier_'] %}
        {%- for part in ['outcome', 'before'] %},
        {{ identity_value(
            'metrics.aggregation',
            '(running.earlier_' ~ part ~ '_sum' ~ (' + running.' ~ part ~ '_sum' if not when else '') ~ ')',
            '(running.earlier_' ~ part ~ '_count' ~ (' + running.' ~ part ~ '_count' if not when else '') ~ ')',
        ) }} as {{ when }}{{ part }}
        {%- endfor %},
        running.earlier_denominator_sum{{ ' + running.denominator_sum' if not when }} as {{ when }}denominator
        {%- endfor %}
    from running
    inner join {{ ref('int_experiment_identities') }} as identities
        on running.identity_number = identities.identity_number
    inner join {{ ref('int_experiment_metrics') }} as metrics on running.metric_number = metrics.metric_number
    left join {{ ref('int_experiment_caps') }} as caps on running.metric_number = caps.metric_number

),

capped_values as (

    select
        metric_number,
        variation,
        epoch,
        day,
        is_until_change,
        is_quarantined,
        first_exposed_on,
        case when activated_on is not null then greatest(day, activated_on) end as activated_day,
        denominator,
        earlier_denominator
        {%- for value in ['outcome', 'earlier_outcome', 'before', 'earlier_before'] %},
        {{ capped(value, 'cap') }} as {{ value }}
        {%- endfor %}
    from values_of_identities

)

-- The sums over the days are those of the whole: what an identity had is taken away where what it has is added.
select
    metric_number,
    variation,
    epoch,
    day,
    is_until_change,
    is_quarantined,
    first_exposed_on,
    activated_day

    {%- for part in ['outcome', 'denominator', 'before'] %},
    sum({{ part }} - earlier_{{ part }}) as {{ part }}_sum,
    sum({{ part }} * {{ part }} - earlier_{{ part }} * earlier_{{ part }}) as {{ part }}_sum_squares
    {%- endfor %}
    {%- for other in ['denominator', 'before'] %},
    sum(outcome * {{ other }} - earlier_outcome * earlier_{{ other }}) as outcome_{{ other }}_products
    {%- endfor %}
from capped_values
group by metric_number, variation, epoch, day, is_until_change, is_quarantined, first_exposed_on, activated_day
