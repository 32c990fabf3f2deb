{{ config(materialized='view_in_place') }}

with arms as (

    select
        statistics.experiment_key,
        statistics.metric_key,
        statistics.variation,
        statistics.population,
        statistics.day,
        statistics.dimension,
        statistics.dimension_value,
        statistics.identities,
        statistics.outcome_sum,
        experiments.control_variation,
        metrics.aggregation,
        metrics.is_ratio or metrics.quantile is not null as is_unknown_to_flagsmith,
        metrics.is_lower_better,
        case
            when metrics.is_ratio then statistics.outcome_sum / nullif(statistics.denominator_sum, 0)
            else statistics.outcome_sum / nullif(statistics.identities, 0)
        end as mean,
        -- Flagsmith's variance, for occurrences too: n − 1 in the denominator.
        {{ sample_variance(
            'outcome_sum', "(case when metrics.aggregation = 'occurrence' then outcome_sum else outcome_sum_squares end)",
            'cast(identities as double)', 'false'
        ) }} as sample_variance
    from {{ ref('int_experiment_sums') }} as statistics
    inner join {{ ref('int_experiments') }} as experiments on statistics.experiment_key = experiments.experiment_key
    inner join {{ ref('int_experiment_metrics') }} as metrics
        on statistics.experiment_key = metrics.experiment_key and statistics.metric_key = metrics.metric_key

),

compared as (

    select
        arms.*,
        control.identities as control_identities,
        control.mean as control_mean,
        case
            when arms.variation = arms.control_variation then 'control'
            when arms.is_unknown_to_flagsmith then 'not_a_flagsmith_metric'
            when arms.identities < 50 or coalesce(control.identities, 0) < 50 then 'fewer_than_50_identities'
            when arms.aggregation = 'occurrence' and (arms.outcome_sum < 5 or control.outcome_sum < 5)
                then 'fewer_than_5_conversions'
            when control.mean <= 0 then 'control_mean_not_positive'
            else 'ok'
        end as flagsmith_status,
        (arms.mean - control.mean) / nullif(control.mean, 0) as flagsmith_lift,
        sqrt(greatest(
            arms.sample_variance / nullif(arms.identities * control.mean * control.mean, 0)
            + arms.mean * arms.mean * control.sample_variance
                / nullif(control.identities * control.mean * control.mean * control.mean * control.mean, 0), 0
        )) as flagsmith_standard_error
    from arms
    left join arms as control
        on
            arms.experiment_key = control.experiment_key
            and arms.metric_key = control.metric_key
            and arms.population = control.population
            and {{ same_slice('arms', 'control') }}
            and control.variation = control.control_variation

),

scored as (

    select
        *,
        {{ normal_cdf('flagsmith_z') }} as chance_above
    from (
        select
            *,
            flagsmith_lift / nullif(flagsmith_standard_error, 0) as flagsmith_z
        from compared
    ) as standardised

)

select
    experiment_key,
    metric_key,
    variation,
    population,
    day,
    dimension,
    dimension_value,

    flagsmith_status,
    case when flagsmith_status = 'ok' then flagsmith_lift end as flagsmith_lift,
    case when flagsmith_status = 'ok' then flagsmith_standard_error end as flagsmith_standard_error,
    case when flagsmith_status = 'ok' then flagsmith_lift - 1.96e0 * flagsmith_standard_error end as flagsmith_low,
    case when flagsmith_status = 'ok' then flagsmith_lift + 1.96e0 * flagsmith_standard_error end as flagsmith_high,
    case
        when flagsmith_status <> 'ok' then null
        when flagsmith_standard_error = 0 and flagsmith_lift = 0 then 0.5e0
        when flagsmith_standard_error = 0
            then case when (flagsmith_lift > 0) = (not is_lower_better) then 1e0 else 0e0 end
        when is_lower_better then 1 - chance_above
        else chance_above
    end as flagsmith_chance_to_win
from scored
