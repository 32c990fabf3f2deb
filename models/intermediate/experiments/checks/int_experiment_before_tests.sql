{{ config(materialized='table_in_place') }}

with ranked as (

    select *, row_number() over (partition by experiment_key, metric_key, variation order by day desc) as recency
    from {{ ref('int_experiment_sums') }}
    where population = 'assigned' and dimension is null

),

last_day as (

    select * from ranked
    where recency = 1

),

moments as (

    select
        last_day.experiment_key,
        last_day.metric_key,
        last_day.variation,
        experiments.control_variation,
        cast(last_day.identities as double) as n,
        last_day.before_sum / nullif(last_day.identities, 0) as mean,
        {{ sample_variance(
            'last_day.before_sum', 'last_day.before_sum_squares', 'cast(last_day.identities as double)', 'false'
        ) }} / nullif(last_day.identities, 0) as squared_error
    from last_day
    inner join {{ ref('int_experiments') }} as experiments on last_day.experiment_key = experiments.experiment_key
    inner join {{ ref('int_experiment_metrics') }} as metrics
        on last_day.experiment_key = metrics.experiment_key and last_day.metric_key = metrics.metric_key
    where metrics.before_days is not null and last_day.identities > 1

),

differences as (

    -- Welch's test of what was there before the experiment, for each variation against control.
    select
        treatment.experiment_key,
        treatment.metric_key,
        treatment.variation,
        -abs(treatment.mean - control.mean) / sqrt(treatment.squared_error + control.squared_error) as statistic,
        pow(treatment.squared_error + control.squared_error, 2) / (
            pow(treatment.squared_error, 2) / (treatment.n - 1) + pow(control.squared_error, 2) / (control.n - 1)
        ) as degrees_of_freedom
    from moments as treatment
    inner join moments as control
        on
            treatment.experiment_key = control.experiment_key
            and treatment.metric_key = control.metric_key
            and control.variation = control.control_variation
    where treatment.variation <> treatment.control_variation and treatment.squared_error + control.squared_error > 0

),

{{ student_t_cdf('differences', 'statistic', 'degrees_of_freedom', 'one_sided_p_value', 'tested') }}

select
    experiment_key,
    metric_key,
    variation,
    statistic,
    degrees_of_freedom,
    one_sided_p_value
from tested
