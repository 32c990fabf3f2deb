{{ config(materialized='table_in_place') }}

{%- set populations = experiment_populations() -%}

with metrics as (

    select
        metrics.experiment_key,
        metrics.metric_key,
        metrics.metric_number,
        metrics.aggregation,
        metrics.last_matured_at,
        caps.cap
    from {{ ref('int_experiment_metrics') }} as metrics
    left join {{ ref('int_experiment_caps') }} as caps on metrics.metric_number = caps.metric_number

),

identities as (

    select
        identity_number,
        is_quarantined,
        first_exposed_at,
        cast(activated_at as date) as activated_day
    from {{ ref('int_experiment_assignments') }}
    where experiment_key in (select experiment_key from {{ ref('int_experiment_breakdown_values') }})

),

outcomes as (

    select
        parts.*,
        identities.is_quarantined,
        identities.activated_day
    from (
        select
            identity_number,
            metric_number,
            is_until_change,
            outcome_sum,
            outcome_count,
            denominator_sum,
            0e0 as before_sum,
            0 as before_count
        from {{ ref('int_experiment_outcomes') }}

        union all

        select
            identity_number,
            metric_number,
            true as is_until_change,
            0e0 as outcome_sum,
            0 as outcome_count,
            0e0 as denominator_sum,
            before_sum,
            before_count
        from {{ ref('int_experiment_outcomes_before') }}
    ) as parts
    inner join identities on parts.identity_number = identities.identity_number

),

totals as (
    {% for population, counted in populations.items() %}
    select
        '{{ population }}' as population,
        identity_number,
        metric_number,
        sum(outcome_sum) as outcome_sum,
        sum(outcome_count) as outcome_count,
        sum(denominator_sum) as denominator_sum,
        sum(before_sum) as before_sum,
        sum(before_count) as before_count
    from outcomes
    where {{ counted.outcomes }}
    group by identity_number, metric_number
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

values_of_identities as (

    select
        totals.population,
        totals.identity_number,
        metrics.metric_key,
        {%- for part in ['outcome', 'before'] %}
        {{ identity_value('metrics.aggregation', 'totals.' ~ part ~ '_sum', 'totals.' ~ part ~ '_count') }} as {{ part }},
        {%- endfor %}
        totals.denominator_sum as denominator,
        metrics.cap
    from totals
    inner join metrics on totals.metric_number = metrics.metric_number
    inner join identities on totals.identity_number = identities.identity_number
    -- An identity without its whole window behind it does not count yet.
    where identities.first_exposed_at <= metrics.last_matured_at

)

select
    population,
    identity_number,
    metric_key,
    {{ capped('outcome', 'cap') }} as outcome,
    {{ capped('before', 'cap') }} as before,
    denominator
from values_of_identities
