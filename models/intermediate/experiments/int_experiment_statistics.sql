{{ config(materialized='table') }}

{#- The sums of a metric, in the order they are computed below. -#}
{%- set sums = [
    'outcome_sum', 'outcome_sum_squares', 'denominator_sum', 'denominator_sum_squares',
    'outcome_denominator_products', 'before_sum', 'before_sum_squares', 'outcome_before_products',
] -%}

with arms as (

    -- Every variation that was seen, should have been seen, or is to be compared with, so that an empty one has a row.
    select distinct experiment_key, variation from {{ ref('fct_experiment_assignments') }}

    union

    select experiment_key, variation from {{ ref('int_experiment_epochs') }}
    where weight > 0

    union

    select experiment_key, control_variation from {{ ref('dim_experiments') }}
    where status <> 'invalid'

),

identities as (

    select
        experiment_key,
        identity,
        variation,
        cast(first_exposed_at as date) as first_exposed_on,
        cast(activated_at as date) as activated_on
    from {{ ref('fct_experiment_assignments') }}
    where not is_quarantined

),

running as (

    -- Each identity's outcomes up to and including each day on which it had any.
    select
        outcomes.experiment_key,
        outcomes.metric_key,
        outcomes.identity,
        outcomes.day,
        metrics.aggregation,
        metrics.numerator_aggregation,
        metrics.denominator_aggregation,
        metrics.winsorise_percentile,
        sum(outcomes.outcome_count) over up_to_the_day as outcome_count,
        sum(outcomes.outcome_sum) over up_to_the_day as outcome_sum,
        sum(outcomes.outcome_values) over up_to_the_day as outcome_values,
        sum(outcomes.denominator_count) over up_to_the_day as denominator_count,
        sum(outcomes.denominator_sum) over up_to_the_day as denominator_sum,
        sum(outcomes.before_count) over up_to_the_day as before_count,
        sum(outcomes.before_sum) over up_to_the_day as before_sum,
        sum(outcomes.before_values) over up_to_the_day as before_values
    from {{ ref('int_experiment_outcomes') }} as outcomes
    inner join {{ ref('int_experiment_metrics') }} as metrics
        on outcomes.experiment_key = metrics.experiment_key and outcomes.metric_key = metrics.metric_key
    window up_to_the_day as (
        partition by outcomes.experiment_key, outcomes.metric_key, outcomes.identity
        order by outcomes.day
        rows between unbounded preceding and current row
    )

),

valued as (

    select
        running.*,
        case
            when aggregation = 'occurrence' then case when outcome_count > 0 then 1e0 else 0e0 end
            when aggregation = 'count' or (aggregation = 'ratio' and numerator_aggregation = 'count')
                then cast(outcome_count as double)
            when aggregation = 'mean' then coalesce(outcome_sum / nullif(outcome_values, 0), 0)
            else outcome_sum
        end as outcome,
        case
            when aggregation <> 'ratio' then 0e0
            when denominator_aggregation = 'count' then cast(denominator_count as double)
            else denominator_sum
        end as denominator,
        case
            when aggregation = 'occurrence' then case when before_count > 0 then 1e0 else 0e0 end
            when aggregation = 'count' then cast(before_count as double)
            when aggregation = 'mean' then coalesce(before_sum / nullif(before_values, 0), 0)
            else before_sum
        end as before
    from running

),

caps as (

    -- The value that so many of the assigned identities do not exceed (nearest rank; no outcome counts as 0), now: the
    -- days of the past are capped by it too, so that the last day equals the total.
    select
        ranked.experiment_key,
        ranked.metric_key,
        max(ranked.outcome) as cap
    from (
        select
            valued.experiment_key,
            valued.metric_key,
            valued.outcome,
            sizes.identities - ceil(valued.winsorise_percentile * sizes.identities) + 1 as wanted_rank,
            row_number() over (
                partition by valued.experiment_key, valued.metric_key order by valued.outcome desc
            ) as descending_rank
        from (
            select * from valued
            where winsorise_percentile is not null
            qualify row_number() over (partition by experiment_key, metric_key, identity order by day desc) = 1
        ) as valued
        inner join identities
            on valued.experiment_key = identities.experiment_key and valued.identity = identities.identity
        inner join (
            select experiment_key, count(*) as identities from identities group by experiment_key
        ) as sizes on valued.experiment_key = sizes.experiment_key
    ) as ranked
    where ranked.descending_rank = ranked.wanted_rank
    group by ranked.experiment_key, ranked.metric_key

),

capped as (

    select
        valued.experiment_key,
        valued.metric_key,
        valued.identity,
        valued.day,
        case
            when valued.winsorise_percentile is null then valued.outcome
            else least(valued.outcome, coalesce(caps.cap, 0e0))
        end as outcome,
        valued.denominator,
        case
            when valued.winsorise_percentile is null then valued.before
            else least(valued.before, coalesce(caps.cap, 0e0))
        end as before
    from valued
    left join caps on valued.experiment_key = caps.experiment_key and valued.metric_key = caps.metric_key

),

squared as (

    select
        experiment_key,
        metric_key,
        identity,
        day,
        outcome as outcome_sum,
        outcome * outcome as outcome_sum_squares,
        denominator as denominator_sum,
        denominator * denominator as denominator_sum_squares,
        outcome * denominator as outcome_denominator_products,
        before as before_sum,
        before * before as before_sum_squares,
        outcome * before as outcome_before_products
    from capped

),

gained as (

    -- What each day added to the sums: they telescope, so adding up the days gives the sums of the whole.
    select
        experiment_key,
        metric_key,
        identity,
        day
        {%- for sum in sums %},
        {{ sum }} - lag({{ sum }}, 1, 0e0) over days_in_order as {{ sum }}
        {%- endfor %}
    from squared
    window days_in_order as (partition by experiment_key, metric_key, identity order by day)

),

gained_by_population as (

    select
        gained.experiment_key,
        gained.metric_key,
        identities.variation,
        'assigned' as population,
        gained.day
        {%- for sum in sums %},
        sum(gained.{{ sum }}) as {{ sum }}
        {%- endfor %}
    from gained
    inner join identities on gained.experiment_key = identities.experiment_key and gained.identity = identities.identity
    group by all

    union all

    select
        gained.experiment_key,
        gained.metric_key,
        identities.variation,
        'activated' as population,
        greatest(gained.day, identities.activated_on) as day
        {%- for sum in sums %},
        sum(gained.{{ sum }}) as {{ sum }}
        {%- endfor %}
    from gained
    inner join identities on gained.experiment_key = identities.experiment_key and gained.identity = identities.identity
    where identities.activated_on is not null
    group by all

),

joined_by_population as (

    select experiment_key, variation, 'assigned' as population, first_exposed_on as day, count(*) as identities
    from identities
    group by all

    union all

    select experiment_key, variation, 'activated' as population, activated_on as day, count(*) as identities
    from identities
    where activated_on is not null
    group by all

),

populations as (

    select experiment_key, 'assigned' as population from {{ ref('dim_experiments') }}

    union all

    select experiment_key, 'activated' as population from {{ ref('dim_experiments') }}
    where activation_event is not null

),

days as (

    -- Days on which something was counted. An experiment without any has one row a metric that says so.
    select experiment_key, day from joined_by_population
    union
    select experiment_key, day from gained_by_population

),

spine as (

    select
        metrics.experiment_key,
        metrics.metric_key,
        arms.variation,
        populations.population,
        days.day
    from {{ ref('int_experiment_metrics') }} as metrics
    inner join arms on metrics.experiment_key = arms.experiment_key
    inner join populations on metrics.experiment_key = populations.experiment_key
    left join days on metrics.experiment_key = days.experiment_key

)

select
    spine.experiment_key,
    spine.metric_key,
    spine.variation,
    spine.population,
    spine.day,

    cast(coalesce(sum(joined_by_population.identities) over up_to_the_day, 0) as bigint) as identities
    {%- for sum in sums %},
    coalesce(sum(gained_by_population.{{ sum }}) over up_to_the_day, 0e0) as {{ sum }}
    {%- endfor %}
from spine
left join joined_by_population
    on
        spine.experiment_key = joined_by_population.experiment_key
        and spine.variation = joined_by_population.variation
        and spine.population = joined_by_population.population
        and spine.day = joined_by_population.day
left join gained_by_population
    on
        spine.experiment_key = gained_by_population.experiment_key
        and spine.metric_key = gained_by_population.metric_key
        and spine.variation = gained_by_population.variation
        and spine.population = gained_by_population.population
        and spine.day = gained_by_population.day
window up_to_the_day as (
    partition by spine.experiment_key, spine.metric_key, spine.variation, spine.population
    order by spine.day
    rows between unbounded preceding and current row
)
