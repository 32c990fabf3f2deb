{{ config(materialized='table_in_place') }}

{%- set sums = experiment_sums() -%}
{%- set populations = experiment_populations() -%}

with arms as (

    -- Every variation that was seen, should have been seen, or is to be compared with, so that an empty one has a row.
    select experiment_key, variation
    from (
        select distinct experiment_key, variation from {{ ref('int_experiment_assignments') }}

        union

        select experiment_key, variation from {{ ref('int_experiment_epochs') }}
        where weight > 0

        union

        select experiment_key, control_variation from {{ ref('int_experiments') }}
        where status <> 'invalid'
    ) as seen

),

metrics as (

    select * from {{ ref('int_experiment_metrics') }}

),

maturities as (

    select distinct experiment_key, hours_to_maturity, last_matured_at
    from metrics

),

identities as (

    -- How many were first exposed on a day, activated on one, and counted from one on.
    select
        identities.experiment_key,
        maturities.hours_to_maturity,
        identities.variation,
        identities.epoch,
        identities.is_quarantined,
        cast(identities.first_exposed_at as date) as first_exposed_on,
        cast(identities.activated_at as date) as activated_on,
        case
            when identities.first_exposed_at <= maturities.last_matured_at
                then cast({{ plus_hours('identities.first_exposed_at', 'maturities.hours_to_maturity') }} as date)
        end as counted_on,
        count(*) as identities
    from {{ ref('int_experiment_assignments') }} as identities
    inner join maturities on identities.experiment_key = maturities.experiment_key
    group by
        identities.experiment_key, maturities.hours_to_maturity, identities.variation, identities.epoch,
        identities.is_quarantined, first_exposed_on, activated_on, counted_on

),

gained_by_population as (
    {% for population, counted in populations.items() %}
    select
        metrics.experiment_key,
        metrics.metric_key,
        gains.variation,
        gains.epoch,
        '{{ population }}' as population,
        gains.{{ counted.counted_day }} as day
        {%- for sum in sums %},
        sum(gains.{{ sum }}) as {{ sum }}
        {%- endfor %}
    from {{ ref('int_experiment_gains') }} as gains
    inner join metrics on gains.metric_number = metrics.metric_number
    where {{ counted.outcomes }} and gains.{{ counted.counted_day }} is not null
    group by metrics.experiment_key, metrics.metric_key, gains.variation, gains.epoch, gains.{{ counted.counted_day }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

joined_by_population as (

    select
        experiment_key, hours_to_maturity, variation, epoch, population, day,
        sum(identities_assigned) as identities_assigned,
        sum(identities) as identities
    from (
        {%- for population, counted in populations.items() %}
        select
            experiment_key, hours_to_maturity, variation, epoch,
            '{{ population }}' as population,
            {{ counted.from }} as day,
            identities as identities_assigned,
            0 as identities
        from identities
        where {{ counted.who }}

        union all

        select
            experiment_key, hours_to_maturity, variation, epoch,
            '{{ population }}' as population,
            {{ counted.counted_from }} as day,
            0 as identities_assigned,
            identities
        from identities
        where {{ counted.who }} and counted_on is not null
        {{ 'union all' if not loop.last }}
        {%- endfor %}
    ) as parts
    group by experiment_key, hours_to_maturity, variation, epoch, population, day

),

populations as (
    {% for population in populations %}
    select experiment_key, '{{ population }}' as population
    from {{ ref('int_experiments') }}
    {%- if population == 'activated' %}
    where activation_event is not null
    {%- endif %}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

days as (

    -- Days on which something was counted. An experiment without any has one row a metric that says so.
    select experiment_key, day from joined_by_population
    union
    select experiment_key, day from gained_by_population

),

epochs as (

    select distinct experiment_key, epoch from {{ ref('int_experiment_epochs') }}

),

spine as (

    select
        metrics.experiment_key,
        metrics.metric_key,
        metrics.hours_to_maturity,
        arms.variation,
        epochs.epoch,
        populations.population,
        days.day
    from metrics
    inner join arms on metrics.experiment_key = arms.experiment_key
    inner join epochs on metrics.experiment_key = epochs.experiment_key
    inner join populations on metrics.experiment_key = populations.experiment_key
    left join days on metrics.experiment_key = days.experiment_key

)

select
    spine.experiment_key,
    spine.metric_key,
    spine.variation,
    spine.population,
    spine.epoch,
    spine.day,

    cast(coalesce(sum(joined_by_population.identities_assigned) over up_to_the_day, 0) as bigint) as identities_assigned,
    cast(coalesce(sum(joined_by_population.identities) over up_to_the_day, 0) as bigint) as identities
    {%- for sum in sums %},
    coalesce(sum(gained_by_population.{{ sum }}) over up_to_the_day, 0e0) as {{ sum }}
    {%- endfor %}
from spine
left join joined_by_population
    on
        spine.experiment_key = joined_by_population.experiment_key
        and spine.hours_to_maturity = joined_by_population.hours_to_maturity
        and spine.variation = joined_by_population.variation
        and spine.epoch = joined_by_population.epoch
        and spine.population = joined_by_population.population
        and spine.day = joined_by_population.day
left join gained_by_population
    on
        spine.experiment_key = gained_by_population.experiment_key
        and spine.metric_key = gained_by_population.metric_key
        and spine.variation = gained_by_population.variation
        and spine.epoch = gained_by_population.epoch
        and spine.population = gained_by_population.population
        and spine.day = gained_by_population.day
window up_to_the_day as (
    partition by spine.experiment_key, spine.metric_key, spine.variation, spine.population, spine.epoch
    order by spine.day
    rows between unbounded preceding and current row
)
