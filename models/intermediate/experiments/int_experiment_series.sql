{{ config(materialized='table_in_place') }}

with comparisons as (

    select
        experiment_key,
        metric_key,
        variation,
        population,
        day,
        dimension,
        dimension_value,
        max(frequentist_status) filter (where adjustment = 'none' and difference = 'relative') as status,
        max(frequentist_status) filter (where adjustment = 'cuped' and difference = 'relative') as cuped_status,
        max(theta) filter (where adjustment = 'cuped' and difference = 'relative') as cuped_theta
        {%- for prefix, adjustment in [('', 'none'), ('cuped_', 'cuped')] %}
        {%- for difference in ['absolute', 'relative'] %}
        {%- for column in estimate_columns() %},
        max({{ column }}) filter (where adjustment = '{{ adjustment }}' and difference = '{{ difference }}')
            as {{ prefix }}{{ difference }}_{{ column }}
        {%- endfor %}
        {%- endfor %}
        {%- endfor %}
    from {{ ref('int_experiment_estimates') }}
    group by experiment_key, metric_key, variation, population, day, dimension, dimension_value

),

epochs as (

    select
        experiment_key, metric_key, population, day, dimension, dimension_value, epoch,
        sum(n) as epoch_n,
        max(outcome_mean) filter (where variation = control_variation) as outcome_mean,
        max(case when is_ratio then denominator_mean else 1 end) filter (where variation = control_variation) as divisor_mean
    from {{ ref('int_experiment_moments') }}
    group by experiment_key, metric_key, population, day, dimension, dimension_value, epoch
    having
        bool_or(is_comparable) filter (where variation = control_variation)
        and bool_or(is_comparable) filter (where variation <> control_variation)

),

control_means as (

    -- Control's own row: over the epochs in which it is compared with any variation.
    select
        experiment_key, metric_key, population, day, dimension, dimension_value,
        sum(epoch_n * outcome_mean) / nullif(sum(epoch_n * divisor_mean), 0) as mean
    from epochs
    group by experiment_key, metric_key, population, day, dimension, dimension_value

),

quantiles as (

    select
        experiment_key, metric_key, variation, population, day,
        sum(n * outcome_mean) / nullif(sum(n), 0) as mean
    from {{ ref('int_experiment_moments') }}
    where is_quantile
    group by experiment_key, metric_key, variation, population, day

),

arms as (

    select
        statistics.*,
        experiments.control_variation,
        experiments.status as experiment_status,
        metrics.role,
        metrics.margin,
        metrics.before_days is not null as has_before,
        metrics.quantile is not null as is_quantile,
        case
            when metrics.quantile is not null then quantiles.mean
            when metrics.is_ratio then statistics.outcome_sum / nullif(statistics.denominator_sum, 0)
            else statistics.outcome_sum / nullif(statistics.identities, 0)
        end as mean
    from {{ ref('int_experiment_sums') }} as statistics
    inner join {{ ref('int_experiments') }} as experiments on statistics.experiment_key = experiments.experiment_key
    inner join {{ ref('int_experiment_metrics') }} as metrics
        on statistics.experiment_key = metrics.experiment_key and statistics.metric_key = metrics.metric_key
    left join quantiles
        on
            statistics.experiment_key = quantiles.experiment_key
            and statistics.metric_key = quantiles.metric_key
            and statistics.variation = quantiles.variation
            and statistics.population = quantiles.population
            and statistics.day is not distinct from quantiles.day

)

select
    arms.experiment_key,
    arms.metric_key,
    arms.variation,
    arms.population,
    arms.day,
    arms.dimension,
    arms.dimension_value,

    arms.role,
    arms.margin,
    case
        when arms.experiment_status = 'not_started' then 'not_started'
        -- Identities are there, but the window of none of them has passed.
        when arms.identities_assigned > 0 and arms.identities = 0 then 'none_matured'
        when control.identities_assigned > 0 and control.identities = 0 then 'none_matured'
        when arms.variation = arms.control_variation and arms.identities = 0 then 'no_control_identities'
        when arms.variation = arms.control_variation then 'control'
        -- Identities are there, but none of them with the event.
        when arms.is_quantile and arms.identities > 0 and comparisons.status = 'no_identities' then 'too_few_identities'
        when arms.is_quantile and control.identities > 0 and comparisons.status = 'no_control_identities' then 'too_few_identities'
        else coalesce(comparisons.status, 'no_control_identities')
    end as status,
    case
        when arms.variation = arms.control_variation then 'control'
        when not arms.has_before then 'not_asked_for'
        else coalesce(comparisons.cuped_status, 'no_control_identities')
    end as cuped_status,

    arms.identities_assigned,
    arms.identities,
    control.identities_assigned as control_identities_assigned,
    control.identities as control_identities,
    {%- for sum in experiment_sums() %}
    arms.{{ sum }},
    {%- endfor %}
    -- Weighted by epoch, as the comparisons are. A ratio without a denominator in these epochs has no mean.
    {%- for arm, of_all in [('', 'arms'), ('control_', 'control')] %}
    case
        when {{ of_all }}.mean is null or (pairs.is_ratio and pairs.{{ arm }}denominator_mean = 0) then null
        when of_control.experiment_key is not null then of_control.mean
        else coalesce(pairs.{{ arm }}mean, {{ of_all }}.mean)
    end as {{ arm }}mean,
    {%- endfor %}
    comparisons.cuped_theta,
    {%- for column in result_columns() %}
    comparisons.{{ column }},
    {%- endfor %}

    flagsmith.flagsmith_status,
    flagsmith.flagsmith_lift,
    flagsmith.flagsmith_standard_error,
    flagsmith.flagsmith_low,
    flagsmith.flagsmith_high,
    flagsmith.flagsmith_chance_to_win
from arms
left join arms as control
    on
        arms.experiment_key = control.experiment_key
        and arms.metric_key = control.metric_key
        and arms.control_variation = control.variation
        and arms.population = control.population
        and {{ same_slice('arms', 'control') }}
left join comparisons
    on
        arms.experiment_key = comparisons.experiment_key
        and arms.metric_key = comparisons.metric_key
        and arms.variation = comparisons.variation
        and arms.population = comparisons.population
        and {{ same_slice('arms', 'comparisons') }}
inner join {{ ref('int_experiment_flagsmith_estimates') }} as flagsmith
    on
        arms.experiment_key = flagsmith.experiment_key
        and arms.metric_key = flagsmith.metric_key
        and arms.variation = flagsmith.variation
        and arms.population = flagsmith.population
        and {{ same_slice('arms', 'flagsmith') }}
left join {{ ref('int_experiment_pairs') }} as pairs
    on
        arms.experiment_key = pairs.experiment_key
        and arms.metric_key = pairs.metric_key
        and arms.variation = pairs.variation
        and arms.population = pairs.population
        and {{ same_slice('arms', 'pairs') }}
        and pairs.has_common_epoch
left join control_means as of_control
    on
        arms.experiment_key = of_control.experiment_key
        and arms.metric_key = of_control.metric_key
        and arms.population = of_control.population
        and {{ same_slice('arms', 'of_control') }}
        and arms.variation = arms.control_variation
