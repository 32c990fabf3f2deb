{{ config(materialized='table_in_place') }}

with lifts as (

    select
        *,
        alpha / 2 as half_alpha
    from {{ ref('int_experiment_lifts') }}
    where bayesian_status = 'ok'

),

posteriors as (

    -- A normal prior for the effect, scaled to the difference at hand, and the normal likelihood of the lift.
    select
        *,
        1 / lift_variance + coalesce(1 / prior_variance, 0) as posterior_precision,
        coalesce(scaled_prior_mean / prior_variance, 0) as prior_weighted_mean
    from (
        select
            *,
            case
                when prior_standard_deviation is null then null
                when prior_type = difference then pow(prior_standard_deviation, 2)
                when difference = 'relative' then pow(prior_standard_deviation, 2) / pow(control_mean, 2)
                else pow(prior_standard_deviation, 2) * pow(control_mean, 2)
            end as prior_variance,
            case
                when prior_type = difference then prior_mean
                when difference = 'relative' then prior_mean / abs(control_mean)
                else prior_mean * abs(control_mean)
            end as scaled_prior_mean
        from lifts
    ) as scaled

),

standardised as (

    select
        *,
        posterior_mean / posterior_standard_deviation as posterior_z,
        -posterior_mean / posterior_standard_deviation as minus_posterior_z
    from (
        select
            *,
            case
                when prior_variance is null then lift
                else (lift / lift_variance + prior_weighted_mean) / posterior_precision
            end as posterior_mean,
            sqrt(1 / posterior_precision) as posterior_standard_deviation
        from posteriors
    ) as posterior

),

probabilities as (

    select
        *,
        {{ normal_cdf('posterior_z') }} as chance_above,
        {{ normal_cdf('minus_posterior_z') }} as chance_below,
        {{ normal_density('posterior_z') }} as density,
        -{{ normal_quantile('half_alpha') }} as normal_critical
    from standardised

),

expected_losses as (

    select
        *,
        -- The mean of the part of the posterior above and below 0: what choosing the other arm would forgo.
        posterior_mean * chance_above + posterior_standard_deviation * density as mean_above,
        posterior_standard_deviation * density - posterior_mean * chance_below as mean_below
    from probabilities

)

select
    experiment_key,
    metric_key,
    variation,
    population,
    day,
    dimension,
    dimension_value,
    adjustment,
    difference,

    posterior_mean as bayesian_lift,
    posterior_mean - normal_critical * posterior_standard_deviation as bayesian_low,
    posterior_mean + normal_critical * posterior_standard_deviation as bayesian_high,
    case when is_lower_better then chance_below else chance_above end as chance_to_win,
    case when is_lower_better then mean_below else mean_above end as loss_of_control,
    case when is_lower_better then mean_above else mean_below end as loss_of_variation
from expected_losses
