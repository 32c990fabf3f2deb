{{ config(materialized='table_in_place') }}

{%- set populations = experiment_populations() -%}

with maturities as (

    select distinct
        metrics.experiment_key,
        metrics.hours_to_maturity,
        experiments.last_received_at
    from {{ ref('int_experiment_metrics') }} as metrics
    inner join {{ ref('int_experiments') }} as experiments on metrics.experiment_key = experiments.experiment_key

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
            when {{ plus_hours('identities.first_exposed_at', 'maturities.hours_to_maturity') }} <= maturities.last_received_at
                then cast({{ plus_hours('identities.first_exposed_at', 'maturities.hours_to_maturity') }} as date)
        end as counted_on,
        count(*) as identities
    from {{ ref('int_experiment_identities') }} as identities
    inner join maturities on identities.experiment_key = maturities.experiment_key
    group by
        identities.experiment_key, maturities.hours_to_maturity, identities.variation, identities.epoch,
        identities.is_quarantined, first_exposed_on, activated_on, counted_on

),

joined as (

    {% for population, counted in populations.items() -%}
    select
        experiment_key,
        hours_to_maturity,
        variation,
        epoch,
        '{{ population }}' as population,
        {{ counted.from }} as day,
        identities as identities_assigned,
        0 as identities
    from identities
    where {{ counted.who }}

    union all

    select
        experiment_key,
        hours_to_maturity,
        variation,
        epoch,
        '{{ population }}' as population,
        {{ counted.counted_from }} as day,
        0 as identities_assigned,
        identities
    from identities
    where {{ counted.who }} and counted_on is not null
    {{ 'union all' if not loop.last }}
    {% endfor %}
)

select
    experiment_key,
    hours_to_maturity,
    variation,
    epoch,
    population,
    day,

    cast(sum(identities_assigned) as bigint) as identities_assigned,
    cast(sum(identities) as bigint) as identities
from joined
group by experiment_key, hours_to_maturity, variation, epoch, population, day
