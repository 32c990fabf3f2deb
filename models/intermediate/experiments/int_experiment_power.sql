{{ config(materialized='table_in_place') }}

with last_days as (

    select experiment_key, max(day) as day
    from {{ ref('int_experiment_series') }}
    where dimension is null
    group by experiment_key

),

compared as (

    select
        results.experiment_key,
        results.metric_key,
        results.variation,
        results.population,
        case when results.cuped_status = 'ok' then 'cuped' else 'none' end as adjustment,
        results.status,
        coalesce(abs(metrics.target_lift), {{ var('experiment_target_lift') }}) as target_lift,
        case
            when results.cuped_status = 'ok' then results.cuped_relative_standard_error
            else results.relative_standard_error
        end as standard_error,
        results.identities + results.control_identities as identities,
        experiments.alpha / 2 as half_alpha,
        1 - experiments.power as missed,
        {{ hours_between('exposures.first_exposed_at', 'least(experiments.last_received_at, coalesce(experiments.ended_at, experiments.last_received_at))') }} / 24
            as days_so_far
    from {{ ref('int_experiment_series') }} as results
    inner join {{ ref('int_experiments') }} as experiments on results.experiment_key = experiments.experiment_key
    inner join {{ ref('int_experiment_metrics') }} as metrics
        on results.experiment_key = metrics.experiment_key and results.metric_key = metrics.metric_key
    left join (
        select experiment_key, min(first_exposed_at) as first_exposed_at
        from {{ ref('int_experiment_assignments') }}
        group by experiment_key
    ) as exposures on results.experiment_key = exposures.experiment_key
    inner join last_days on results.experiment_key = last_days.experiment_key
    where
        results.dimension is null
        and results.variation <> experiments.control_variation
        and (results.day = last_days.day or last_days.day is null)

),

detectable as (

    -- What a two-sided test at alpha finds with the wanted power, given the spread of the data as it is.
    select
        *,
        (-({{ normal_quantile('half_alpha') }}) - ({{ normal_quantile('missed') }})) * standard_error
            as minimum_detectable_lift
    from compared

)

select
    experiment_key,
    metric_key,
    variation,
    population,

    case
        when status <> 'ok' then status
        when minimum_detectable_lift <= target_lift then 'target_detectable'
        else 'collecting_data'
    end as status,
    adjustment,

    identities,
    target_lift,
    minimum_detectable_lift,
    days_so_far,
    -- The standard error falls with the square root of the identities, and these come at the rate they came so far.
    case
        when status <> 'ok' then null
        when minimum_detectable_lift <= target_lift then 0e0
        else days_so_far * (pow(minimum_detectable_lift / target_lift, 2) - 1)
    end as days_left
from detectable
