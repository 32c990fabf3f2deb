{{ config(materialized='table') }}

{#- What is added up for an identity, and the sums over identities made of it. -#}
{%- set parts = ['outcome', 'outcome_values', 'denominator', 'before', 'before_values'] -%}
{%- set sums = [
    'outcome_sum', 'outcome_sum_squares', 'denominator_sum', 'denominator_sum_squares',
    'outcome_denominator_products', 'before_sum', 'before_sum_squares', 'outcome_before_products',
] -%}

with arms as (

    -- Every variation that was seen, should have been seen, or is to be compared with, so that an empty one has a row.
    select
        experiment_key,
        variation,
        row_number() over (order by experiment_key, variation) as arm_number
    from (
        select distinct experiment_key, variation from {{ ref('fct_experiment_assignments') }}

        union

        select experiment_key, variation from {{ ref('int_experiment_epochs') }}
        where weight > 0

        union

        select experiment_key, control_variation from {{ ref('dim_experiments') }}
        where status <> 'invalid'
    ) as seen

),

identities as (

    -- What an outcome must know of its identity, in numbers: millions of outcomes are put in order below, and numbers sort
    -- several times faster than names.
    select
        known.identity_number,
        cast(arms.arm_number as integer) as arm_number,
        assignments.experiment_key,
        assignments.variation,
        cast(assignments.first_exposed_at as date) as first_exposed_on,
        cast(assignments.activated_at as date) as activated_on
    from {{ ref('fct_experiment_assignments') }} as assignments
    inner join arms
        on assignments.experiment_key = arms.experiment_key and assignments.variation = arms.variation
    inner join {{ ref('int_experiment_outcomes') }} as known
        on
            known.measure_number is null
            and assignments.experiment_key = known.experiment_key
            and assignments.identity = known.identity
    where not assignments.is_quarantined

),

metrics as (

    select
        *,
        cast(row_number() over (order by experiment_key, metric_key) as integer) as metric_number
    from {{ ref('int_experiment_metrics') }}

),

measures as (

    {% for part in ['outcome', 'denominator', 'before', 'before_start'] -%}
    select
        known.measure_number + {{ outcome_parts()[part] }} as measure_number,
        '{{ 'before' if part == 'before_start' else part }}' as part,
        metrics.metric_number,
        metrics.aggregation = 'occurrence' as is_occurrence,
        metrics.aggregation = 'mean' as is_mean,
        -- Whether the metric is one sum alone, as most are.
        metrics.aggregation in ('occurrence', 'count', 'sum')
        and metrics.before_days is null and metrics.winsorise_percentile is null as is_plain
    from {{ ref('int_experiment_outcomes') }} as known
    inner join metrics on known.experiment_key = metrics.experiment_key and known.metric_key = metrics.metric_key
    where known.identity_number is null
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

plain_running as (

    -- Each identity's sum up to and including each of its events. Such a sum costs about as much as a plain group by of the
    -- events, so that metrics which need but one have a way of their own.
    select
        outcomes.measure_number,
        identities.arm_number,
        identities.activated_on,
        outcomes.day,
        coalesce(outcomes.value, 0e0) as outcome_of_event,
        sum(coalesce(outcomes.value, 0e0)) over up_to_the_event as outcome
    from {{ ref('int_experiment_outcomes') }} as outcomes
    inner join measures on outcomes.measure_number = measures.measure_number
    inner join identities on outcomes.identity_number = identities.identity_number
    where measures.is_plain
    window up_to_the_event as (
        partition by outcomes.identity_number, outcomes.measure_number
        order by outcomes.day
        rows between unbounded preceding and current row
    )

),

plain_valued as (

    select
        measures.metric_number,
        running.arm_number,
        running.activated_on,
        running.day,
        case when not is_occurrence then outcome when outcome > 0 then 1e0 else 0e0 end as outcome,
        case
            when not is_occurrence then outcome - outcome_of_event
            when outcome - outcome_of_event > 0 then 1e0
            else 0e0
        end as outcome_until_then
    from plain_running as running
    inner join measures on running.measure_number = measures.measure_number

),

numbered as (

    -- Of the other metrics, what an event adds to which part.
    select
        measures.metric_number,
        outcomes.identity_number,
        outcomes.day,
        {%- for part in ['outcome', 'denominator', 'before'] %}
        case when measures.part = '{{ part }}' then coalesce(outcomes.value, 0e0) else 0e0 end as {{ part }},
        {%- endfor %}
        case when measures.is_mean and measures.part = 'outcome' and outcomes.value is not null then 1 else 0 end
            as outcome_values,
        case when measures.is_mean and measures.part = 'before' and outcomes.value is not null then 1 else 0 end
            as before_values
    from {{ ref('int_experiment_outcomes') }} as outcomes
    inner join measures on outcomes.measure_number = measures.measure_number
    where not measures.is_plain

),

running as (

    select
        numbered.metric_number,
        numbered.day,
        identities.arm_number,
        identities.activated_on
        {%- for part in parts %},
        numbered.{{ part }} as {{ part }}_of_event,
        sum(numbered.{{ part }}) over up_to_the_event as {{ part }}
        {%- endfor %}
    from numbered
    inner join identities on numbered.identity_number = identities.identity_number
    window up_to_the_event as (
        partition by numbered.identity_number, numbered.metric_number
        order by numbered.day
        rows between unbounded preceding and current row
    )

),

valued as (

    -- What that makes of the identity, with the event and just before it.
    select
        running.metric_number,
        running.arm_number,
        running.day,
        running.activated_on,
        metrics.winsorise_percentile,
        running.denominator,
        running.denominator - running.denominator_of_event as denominator_until_then
        {%- for part in ['outcome', 'before'] %},
        {{ identity_value('metrics.aggregation', 'running.' ~ part, 'running.' ~ part ~ '_values') }} as {{ part }},
        {{ identity_value(
            'metrics.aggregation',
            '(running.' ~ part ~ ' - running.' ~ part ~ '_of_event)',
            '(running.' ~ part ~ '_values - running.' ~ part ~ '_values_of_event)'
        ) }} as {{ part }}_until_then
        {%- endfor %}
    from running
    inner join metrics on running.metric_number = metrics.metric_number

),

caps as (

    -- The value that so many of the assigned identities do not exceed (nearest rank; no outcome counts as 0), now: the
    -- days of the past are capped by it too, so that the last day equals the total.
    select
        metric_number,
        max(outcome) as cap
    from (
        select
            latest.metric_number,
            latest.outcome,
            sizes.identities - ceil(latest.winsorise_percentile * sizes.identities) + 1 as wanted_rank,
            row_number() over (partition by latest.metric_number order by latest.outcome desc) as descending_rank
        from (
            select
                numbered.metric_number,
                numbered.identity_number,
                capped_metrics.winsorise_percentile,
                {{ identity_value('capped_metrics.aggregation', 'sum(numbered.outcome)', 'sum(numbered.outcome_values)') }} as outcome
            from numbered
            inner join metrics as capped_metrics on numbered.metric_number = capped_metrics.metric_number
            inner join identities on numbered.identity_number = identities.identity_number
            where capped_metrics.winsorise_percentile is not null
            group by
                numbered.metric_number, numbered.identity_number, capped_metrics.winsorise_percentile,
                capped_metrics.aggregation
        ) as latest
        inner join metrics on latest.metric_number = metrics.metric_number
        inner join (
            select experiment_key, count(*) as identities from identities group by experiment_key
        ) as sizes on metrics.experiment_key = sizes.experiment_key
    ) as ranked
    where descending_rank = wanted_rank
    group by metric_number

),

capped as (

    select
        valued.metric_number,
        valued.arm_number,
        valued.day,
        valued.activated_on
        {%- for column in ['outcome', 'outcome_until_then', 'before', 'before_until_then'] %},
        case
            when valued.winsorise_percentile is null then valued.{{ column }}
            else least(valued.{{ column }}, coalesce(caps.cap, 0e0))
        end as {{ column }}
        {%- endfor %},
        valued.denominator,
        valued.denominator_until_then
    from valued
    left join caps on valued.metric_number = caps.metric_number

),

gained as (

    -- What each day added to the sums: they telescope, so adding up the days gives the sums of the whole.
    select
        metric_number,
        arm_number,
        day,
        greatest(day, activated_on) as activated_day,
        activated_on is not null as is_activated,
        sum(outcome - outcome_until_then) as outcome_sum,
        sum(outcome * outcome - outcome_until_then * outcome_until_then) as outcome_sum_squares,
        sum(denominator - denominator_until_then) as denominator_sum,
        sum(denominator * denominator - denominator_until_then * denominator_until_then) as denominator_sum_squares,
        sum(outcome * denominator - outcome_until_then * denominator_until_then) as outcome_denominator_products,
        sum(before - before_until_then) as before_sum,
        sum(before * before - before_until_then * before_until_then) as before_sum_squares,
        sum(outcome * before - outcome_until_then * before_until_then) as outcome_before_products
    from capped
    group by metric_number, arm_number, day, greatest(day, activated_on), activated_on is not null

    union all

    select
        metric_number,
        arm_number,
        day,
        greatest(day, activated_on) as activated_day,
        activated_on is not null as is_activated,
        sum(outcome - outcome_until_then) as outcome_sum,
        sum(outcome * outcome - outcome_until_then * outcome_until_then) as outcome_sum_squares
        {%- for sum in sums[2:] %},
        0e0 as {{ sum }}
        {%- endfor %}
    from plain_valued
    group by metric_number, arm_number, day, greatest(day, activated_on), activated_on is not null

),

gained_by_population as (
    {% for population, day, condition in [('assigned', 'day', 'true'), ('activated', 'activated_day', 'is_activated')] %}
    select
        metrics.experiment_key,
        metrics.metric_key,
        arms.variation,
        '{{ population }}' as population,
        gained.{{ day }} as day
        {%- for sum in sums %},
        sum(gained.{{ sum }}) as {{ sum }}
        {%- endfor %}
    from gained
    inner join metrics on gained.metric_number = metrics.metric_number
    inner join arms on gained.arm_number = arms.arm_number
    where {{ condition }}
    group by metrics.experiment_key, metrics.metric_key, arms.variation, gained.{{ day }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
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
    from metrics
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
