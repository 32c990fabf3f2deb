{{ config(materialized='table_in_place') }}

with ranked as (

    select
        *,
        row_number() over (partition by experiment_key, metric_key, variation, population order by day desc) as recency
    from {{ ref('int_experiment_series') }}
    where dimension is null

),

latest as (

    select * from ranked
    where recency = 1

),

reasons_for_distrust as (

    -- The first alarm that makes a comparison worthless, whatever it says, or the finding that a population is biased.
    select experiment_key, spoils_population as population, min(message) as message
    from {{ ref('int_experiment_checks') }}
    where (status = 'alarm' and spoils_results) or (status <> 'ok' and spoils_population is not null)
    group by experiment_key, spoils_population

),

quantiles as (

    select experiment_key, metric_key, variation, population, sum(identities) as identities
    from {{ ref('int_experiment_quantiles') }}
    group by experiment_key, metric_key, variation, population

),

measured as (

    -- Who tells something of the metric: of times and quantiles only those who had the event.
    select
        latest.*,
        metrics.minimum_sample,
        metrics.aggregation,
        metrics.is_lower_better,
        case
            when metrics.aggregation = 'quantile' then coalesce(quantiles.identities, 0)
            when metrics.aggregation = 'hours_to_first' then latest.denominator_sum
            else latest.identities
        end as identities_measured
    from latest
    inner join {{ ref('int_experiment_metrics') }} as metrics
        on latest.experiment_key = metrics.experiment_key and latest.metric_key = metrics.metric_key
    left join quantiles
        on
            latest.experiment_key = quantiles.experiment_key
            and latest.metric_key = quantiles.metric_key
            and latest.variation = quantiles.variation
            and latest.population = quantiles.population

),

decided as (

    select
        latest.*,
        experiments.alpha,
        experiments.decision_method,
        control.identities_measured as control_identities_measured,
        control.outcome_sum as control_outcome_sum,
        coalesce(of_experiment.message, of_population.message) as distrust,
        -- The adjusted comparison where it was asked for and could be made.
        {%- for column in ['lift', 'low', 'high', 'p_value', 'sequential_low', 'sequential_high', 'sequential_p_value', 'chance_to_win'] %}
        case
            when latest.cuped_status = 'ok' then latest.cuped_relative_{{ column }} else latest.relative_{{ column }}
        end as decision_{{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    from measured as latest
    inner join {{ ref('int_experiments') }} as experiments on latest.experiment_key = experiments.experiment_key
    left join measured as control
        on
            latest.experiment_key = control.experiment_key
            and latest.metric_key = control.metric_key
            and latest.population = control.population
            and experiments.control_variation = control.variation
    left join reasons_for_distrust as of_experiment
        on latest.experiment_key = of_experiment.experiment_key and of_experiment.population is null
    left join reasons_for_distrust as of_population
        on latest.experiment_key = of_population.experiment_key and latest.population = of_population.population

)

select
    experiment_key,
    metric_key,
    variation,
    population,
    day,

    role,
    status,
    flagsmith_status,
    distrust,
    aggregation,
    is_lower_better,
    minimum_sample,
    margin,
    alpha,
    decision_method,

    identities_measured,
    control_identities_measured,
    outcome_sum,
    control_outcome_sum,
    control_mean,
    decision_lift as lift,
    case when decision_method = 'sequential' then decision_sequential_low else decision_low end as low,
    case when decision_method = 'sequential' then decision_sequential_high else decision_high end as high,
    decision_p_value as p_value,
    decision_sequential_p_value as sequential_p_value,
    case
        when decision_method = 'flagsmith' then flagsmith_chance_to_win else decision_chance_to_win
    end as chance_to_win
from decided
