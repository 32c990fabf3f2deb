{{ config(materialized='view_in_place') }}

with experiments as (

    select
        experiments.experiment_key,
        experiments.primary_population
    from {{ ref('int_experiments') }} as experiments
    inner join {{ ref('int_experiment_epochs') }} as epochs on experiments.experiment_key = epochs.experiment_key
    group by experiments.experiment_key, experiments.primary_population
    having max(epochs.epoch) > 1

),

arms as (

    -- The identities of each variation in each epoch, by the metric with the most.
    select
        moments.experiment_key,
        moments.variation,
        moments.control_variation,
        moments.epoch,
        max(moments.identities) as identities
    from {{ ref('int_experiment_moments') }} as moments
    inner join experiments
        on moments.experiment_key = experiments.experiment_key and moments.population = experiments.primary_population
    where moments.dimension is null
    group by moments.experiment_key, moments.variation, moments.control_variation, moments.epoch

),

comparisons as (

    select
        treatment.experiment_key,
        treatment.variation,
        treatment.epoch,
        treatment.identities >= 2 and control.identities >= 2 as has_both_arms
    from arms as treatment
    inner join arms as control
        on
            treatment.experiment_key = control.experiment_key
            and treatment.epoch = control.epoch
            and control.variation = control.control_variation
    where treatment.variation <> treatment.control_variation

),

compared as (

    select distinct experiment_key, variation
    from comparisons
    where has_both_arms

),

left_out as (

    -- A variation without any epoch to compare in is compared over all of them.
    select comparisons.*
    from comparisons
    inner join compared
        on comparisons.experiment_key = compared.experiment_key and comparisons.variation = compared.variation
    where not comparisons.has_both_arms

),

ranked as (

    select
        series.experiment_key,
        series.metric_key,
        metrics.metric_name,
        series.variation,
        series.population,
        series.relative_lift,
        series.relative_standard_error,
        series.outcome_sum / nullif(
            case when metrics.is_ratio then series.denominator_sum else cast(series.identities as double) end, 0
        ) as pooled_mean,
        experiments.control_variation,
        row_number() over (
            partition by series.experiment_key, series.metric_key, series.variation order by series.day desc
        ) as recency
    from {{ ref('int_experiment_series') }} as series
    inner join {{ ref('int_experiments') }} as experiments on series.experiment_key = experiments.experiment_key
    inner join {{ ref('int_experiment_metrics') }} as metrics
        on series.experiment_key = metrics.experiment_key and series.metric_key = metrics.metric_key
    -- A quantile has no pooled sums.
    where
        series.population = experiments.primary_population and series.dimension is null and metrics.quantile is null

),

latest as (

    select * from ranked
    where recency = 1

),

distances as (

    -- How far the lift of pooled means is from the stratified one, in standard errors.
    select
        treatment.experiment_key,
        treatment.variation || ' on ' || treatment.metric_name as comparison,
        abs(treatment.pooled_mean / nullif(control.pooled_mean, 0) - 1 - treatment.relative_lift)
        / nullif(treatment.relative_standard_error, 0) as distance
    from latest as treatment
    inner join latest as control
        on
            treatment.experiment_key = control.experiment_key
            and treatment.metric_key = control.metric_key
            and control.variation = control.control_variation
    where treatment.variation <> treatment.control_variation

),

farthest as (

    select
        experiment_key,
        max(distance) as distance,
        max_by(comparison, (distance, comparison)) as comparison
    from distances
    where distance is not null
    group by experiment_key

)

select
    comparisons.experiment_key,
    0 as epoch,
    'epochs_compared' as check_name,
    case when count(left_out.epoch) > {{ check_threshold('epochs_compared') }} then 'some' else 'all' end as finding,
    count(left_out.epoch) as value,
    {{ check_threshold('epochs_compared') }} as threshold,
    count(left_out.epoch) as affected,
    count(*) as total,
    {{ joined_texts(
        "left_out.variation || ' in period ' || cast(left_out.epoch as string)", ', ', 'left_out.variation, left_out.epoch'
    ) }} as detail
from comparisons
left join left_out
    on
        comparisons.experiment_key = left_out.experiment_key
        and comparisons.variation = left_out.variation
        and comparisons.epoch = left_out.epoch
group by comparisons.experiment_key

union all

select
    farthest.experiment_key,
    0 as epoch,
    'pooled_lift' as check_name,
    case when farthest.distance > {{ check_threshold('pooled_lift') }} then 'apart' else 'near' end as finding,
    farthest.distance as value,
    {{ check_threshold('pooled_lift') }} as threshold,
    cast(null as bigint) as affected,
    cast(null as bigint) as total,
    farthest.comparison as detail
from farthest
inner join experiments on farthest.experiment_key = experiments.experiment_key
