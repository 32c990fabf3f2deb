{{ config(materialized='table') }}

{#- What is added up for an identity, and the sums over identities made of it. -#}
{%- set parts = ['outcome', 'outcome_values', 'denominator', 'before', 'before_values'] -%}
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

    -- Numbered, because millions of outcomes are put in order below: numbers sort several times faster than names.
    select
        experiment_key,
        identity,
        variation,
        row_number() over () as identity_number,
        cast(first_exposed_at as date) as first_exposed_on,
        cast(activated_at as date) as activated_on
    from {{ ref('fct_experiment_assignments') }}
    where not is_quarantined

),

metrics as (

    select *, row_number() over () as metric_number
    from {{ ref('int_experiment_metrics') }}

),

numbered as (

    -- Of what an identity did on a day, what its metric adds up: few columns, because each is summed in order below.
    select
        cast(identities.identity_number as integer) as identity_number,
        cast(metrics.metric_number as integer) as metric_number,
        outcomes.day,
        {{ summand('metrics.aggregation', 'metrics.numerator_aggregation', 'outcomes.outcome') }} as outcome,
        case when metrics.aggregation = 'mean' then outcomes.outcome_values else 0 end as outcome_values,
        case
            when metrics.aggregation <> 'ratio' then 0e0
            when metrics.denominator_aggregation = 'count' then cast(outcomes.denominator_count as double)
            else outcomes.denominator_sum
        end as denominator,
        {{ summand('metrics.aggregation', 'metrics.numerator_aggregation', 'outcomes.before') }} as before,
        case when metrics.aggregation = 'mean' then outcomes.before_values else 0 end as before_values
    from {{ ref('int_experiment_outcomes') }} as outcomes
    inner join metrics
        on outcomes.experiment_key = metrics.experiment_key and outcomes.metric_key = metrics.metric_key
    inner join identities
        on outcomes.experiment_key = identities.experiment_key and outcomes.identity = identities.identity

),

running as (

    -- Each identity's sums up to and including each day on which it did anything.
    select
        identity_number,
        metric_number,
        day
        {%- for part in parts %},
        {{ part }} as {{ part }}_of_day,
        sum({{ part }}) over up_to_the_day as {{ part }}
        {%- endfor %}
    from numbered
    window up_to_the_day as (
        partition by identity_number, metric_number
        order by day
        rows between unbounded preceding and current row
    )

),

valued as (

    -- What that makes of the identity, with the day and just before it.
    select
        running.identity_number,
        running.metric_number,
        running.day,
        metrics.winsorise_percentile,
        running.denominator,
        running.denominator - running.denominator_of_day as denominator_until_then
        {%- for part in ['outcome', 'before'] %},
        {{ identity_value('metrics.aggregation', 'running.' ~ part, 'running.' ~ part ~ '_values') }} as {{ part }},
        {{ identity_value(
            'metrics.aggregation',
            '(running.' ~ part ~ ' - running.' ~ part ~ '_of_day)',
            '(running.' ~ part ~ '_values - running.' ~ part ~ '_values_of_day)'
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
            select metric_number, winsorise_percentile, max_by(outcome, day) as outcome
            from valued
            where winsorise_percentile is not null
            group by metric_number, winsorise_percentile, identity_number
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
        valued.identity_number,
        valued.metric_number,
        valued.day
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
        capped.metric_number,
        identities.variation,
        capped.day,
        greatest(capped.day, identities.activated_on) as activated_day,
        identities.activated_on is not null as is_activated,
        sum(outcome - outcome_until_then) as outcome_sum,
        sum(outcome * outcome - outcome_until_then * outcome_until_then) as outcome_sum_squares,
        sum(denominator - denominator_until_then) as denominator_sum,
        sum(denominator * denominator - denominator_until_then * denominator_until_then) as denominator_sum_squares,
        sum(outcome * denominator - outcome_until_then * denominator_until_then) as outcome_denominator_products,
        sum(before - before_until_then) as before_sum,
        sum(before * before - before_until_then * before_until_then) as before_sum_squares,
        sum(outcome * before - outcome_until_then * before_until_then) as outcome_before_products
    from capped
    inner join identities on capped.identity_number = identities.identity_number
    group by
        capped.metric_number, identities.variation, capped.day, greatest(capped.day, identities.activated_on),
        identities.activated_on is not null

),

gained_by_population as (
    {% for population, day, condition in [('assigned', 'day', 'true'), ('activated', 'activated_day', 'is_activated')] %}
    select
        metrics.experiment_key,
        metrics.metric_key,
        gained.variation,
        '{{ population }}' as population,
        gained.{{ day }} as day
        {%- for sum in sums %},
        sum(gained.{{ sum }}) as {{ sum }}
        {%- endfor %}
    from gained
    inner join metrics on gained.metric_number = metrics.metric_number
    where {{ condition }}
    group by metrics.experiment_key, metrics.metric_key, gained.variation, gained.{{ day }}
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
