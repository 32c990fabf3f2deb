{{ config(materialized='table') }}

with wide as (

    select
        experiment_key,
        metric_key,
        variation,
        population,
        day,
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
    group by experiment_key, metric_key, variation, population, day

),

arms as (

    select
        statistics.*,
        experiments.control_variation,
        experiments.status as experiment_status,
        metrics.role,
        metrics.aggregation,
        metrics.is_lower_better,
        metrics.before_days is not null and metrics.aggregation <> 'ratio' as has_before,
        case
            when metrics.aggregation = 'ratio' then statistics.outcome_sum / nullif(statistics.denominator_sum, 0)
            else statistics.outcome_sum / nullif(statistics.identities, 0)
        end as mean,
        -- Flagsmith's variance, for occurrences too: n − 1 in the denominator.
        {{ sample_variance(
            'outcome_sum', "(case when metrics.aggregation = 'occurrence' then outcome_sum else outcome_sum_squares end)",
            'cast(identities as double)', 'false'
        ) }} as sample_variance
    from {{ experiment_statistics() }} as statistics
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
            when arms.aggregation = 'ratio' then 'not_a_flagsmith_metric'
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
            and arms.day is not distinct from control.day
            and control.variation = control.control_variation

),

flagsmith as (

    select
        *,
        {{ normal_cdf('flagsmith_z') }} as chance_above
    from (
        select
            *,
            flagsmith_lift / nullif(flagsmith_standard_error, 0) as flagsmith_z
        from compared
    ) as scored

)

select
    flagsmith.experiment_key,
    flagsmith.metric_key,
    flagsmith.variation,
    flagsmith.population,
    flagsmith.day,

    flagsmith.role,
    case
        when flagsmith.experiment_status = 'not_started' then 'not_started'
        when flagsmith.variation = flagsmith.control_variation and flagsmith.identities = 0 then 'no_control_identities'
        when flagsmith.variation = flagsmith.control_variation then 'control'
        else coalesce(wide.status, 'no_control_identities')
    end as status,
    case
        when flagsmith.variation = flagsmith.control_variation then 'control'
        when not flagsmith.has_before then 'not_asked_for'
        else coalesce(wide.cuped_status, 'no_control_identities')
    end as cuped_status,

    flagsmith.identities,
    flagsmith.control_identities,
    flagsmith.outcome_sum,
    flagsmith.outcome_sum_squares,
    flagsmith.denominator_sum,
    flagsmith.denominator_sum_squares,
    flagsmith.outcome_denominator_products,
    flagsmith.before_sum,
    flagsmith.before_sum_squares,
    flagsmith.outcome_before_products,
    flagsmith.mean,
    flagsmith.control_mean,
    wide.cuped_theta,
    {%- for column in result_columns() %}
    wide.{{ column }},
    {%- endfor %}

    flagsmith.flagsmith_status,
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
from flagsmith
left join wide
    on
        flagsmith.experiment_key = wide.experiment_key
        and flagsmith.metric_key = wide.metric_key
        and flagsmith.variation = wide.variation
        and flagsmith.population = wide.population
        and flagsmith.day is not distinct from wide.day
