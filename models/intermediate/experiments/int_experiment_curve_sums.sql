{{ config(materialized='table_in_place') }}

{%- set sums = experiment_sums() -%}
{%- set populations = experiment_populations() -%}

with counted_until as (

    -- Until when the outcomes of an experiment, and of each of its epochs, are known. Later days cannot be compared yet.
    select
        experiments.experiment_key,
        epochs.epoch,
        least(experiments.last_received_at, coalesce(experiments.ended_at, experiments.last_received_at)) as ends_at,
        least(
            experiments.last_received_at,
            coalesce(experiments.ended_at, experiments.last_received_at),
            coalesce(epochs.valid_to, experiments.last_received_at)
        ) as epoch_ends_at
    from {{ ref('int_experiments') }} as experiments
    inner join (
        select distinct experiment_key, epoch, valid_to
        from {{ ref('int_experiment_epochs') }}
    ) as epochs on experiments.experiment_key = epochs.experiment_key

),

identities as (

    select
        identities.experiment_key,
        identities.variation,
        identities.epoch,
        identities.is_quarantined,
        cast(identities.first_exposed_at as date) as first_exposed_on,
        cast(identities.activated_at as date) as activated_on,
        counted_until.ends_at,
        counted_until.epoch_ends_at
    from {{ ref('int_experiment_assignments') }} as identities
    inner join counted_until
        on identities.experiment_key = counted_until.experiment_key and identities.epoch = counted_until.epoch

),

metrics as (

    select * from {{ ref('int_experiment_metrics') }}

),

joined as (
    {% for population, counted in populations.items() %}
    select
        experiment_key,
        variation,
        epoch,
        '{{ population }}' as population,
        first_exposed_on,
        {{ days_between('first_exposed_on', counted.from) }} as days_since_exposure,
        cast({{ plus_hours(counted.until, -24) }} as date) as last_whole_day,
        count(*) as identities
    from identities
    where {{ counted.who }}
    group by experiment_key, variation, epoch, first_exposed_on, {{ counted.from }}, {{ counted.until }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

gained as (
    {% for population, counted in populations.items() %}
    select
        metrics.experiment_key,
        metrics.metric_key,
        gains.variation,
        gains.epoch,
        '{{ population }}' as population,
        gains.first_exposed_on,
        {{ days_between('gains.first_exposed_on', 'gains.' ~ counted.day) }} as days_since_exposure
        {%- for sum in sums %},
        sum(gains.{{ sum }}) as {{ sum }}
        {%- endfor %}
    from {{ ref('int_experiment_gains') }} as gains
    inner join metrics on gains.metric_number = metrics.metric_number
    where {{ counted.outcomes }}
    group by metrics.experiment_key, metrics.metric_key, gains.variation, gains.epoch, gains.first_exposed_on, gains.{{ counted.day }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

days as (

    -- The whole days of those who were first exposed on the same day.
    select
        experiment_key,
        variation,
        epoch,
        population,
        first_exposed_on,
        {{ each_day('first_exposed_on', 'last_whole_day') }} as day
    from joined
    group by experiment_key, variation, epoch, population, first_exposed_on, last_whole_day

),

totals as (

    -- What they had by the end of each of these days.
    select
        days.experiment_key,
        metrics.metric_key,
        days.variation,
        days.epoch,
        days.population,
        {{ days_between('days.first_exposed_on', 'days.day') }} as days_since_exposure,
        coalesce(sum(joined.identities) over up_to_the_day, 0) as identities
        {%- for sum in sums %},
        coalesce(sum(gained.{{ sum }}) over up_to_the_day, 0e0) as {{ sum }}
        {%- endfor %}
    from days
    inner join metrics on days.experiment_key = metrics.experiment_key
    left join joined
        on
            days.experiment_key = joined.experiment_key
            and days.variation = joined.variation
            and days.epoch = joined.epoch
            and days.population = joined.population
            and days.first_exposed_on = joined.first_exposed_on
            and {{ days_between('days.first_exposed_on', 'days.day') }} = joined.days_since_exposure
    left join gained
        on
            days.experiment_key = gained.experiment_key
            and metrics.metric_key = gained.metric_key
            and days.variation = gained.variation
            and days.epoch = gained.epoch
            and days.population = gained.population
            and days.first_exposed_on = gained.first_exposed_on
            and {{ days_between('days.first_exposed_on', 'days.day') }} = gained.days_since_exposure
    window up_to_the_day as (
        partition by
            days.experiment_key, metrics.metric_key, days.variation, days.epoch, days.population, days.first_exposed_on
        order by days.day
        rows between unbounded preceding and current row
    )

),

arms as (

    select distinct experiment_key, metric_key, variation, population, epoch
    from {{ ref('int_experiment_statistics') }}

),

points as (

    select distinct experiment_key, population, days_since_exposure
    from totals

)

-- An arm without any matured identities has a row too, as it has in int_experiment_statistics.
select
    arms.experiment_key,
    arms.metric_key,
    arms.variation,
    arms.population,
    arms.epoch,
    points.days_since_exposure,

    cast(coalesce(sum(totals.identities), 0) as bigint) as identities
    {%- for sum in sums %},
    coalesce(sum(totals.{{ sum }}), 0e0) as {{ sum }}
    {%- endfor %}
from arms
inner join points on arms.experiment_key = points.experiment_key and arms.population = points.population
left join totals
    on
        arms.experiment_key = totals.experiment_key
        and arms.metric_key = totals.metric_key
        and arms.variation = totals.variation
        and arms.population = totals.population
        and arms.epoch = totals.epoch
        and points.days_since_exposure = totals.days_since_exposure
group by
    arms.experiment_key, arms.metric_key, arms.variation, arms.population, arms.epoch, points.days_since_exposure
