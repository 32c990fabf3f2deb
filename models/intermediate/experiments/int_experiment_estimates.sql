{{ config(materialized='table') }}

with arms as (

    select
        statistics.experiment_key,
        statistics.metric_key,
        statistics.variation,
        statistics.population,
        statistics.day,
        experiments.control_variation,
        metrics.aggregation = 'occurrence' as is_proportion,
        metrics.aggregation = 'ratio' as is_ratio,
        metrics.before_days is not null and metrics.aggregation <> 'ratio' as has_before,
        experiments.alpha,
        experiments.sequential_tuning,
        metrics.is_lower_better,
        metrics.prior_mean,
        metrics.prior_standard_deviation,
        metrics.prior_type,
        cast(statistics.identities as double) as n,
        statistics.outcome_sum,
        statistics.outcome_sum_squares,
        statistics.denominator_sum,
        statistics.denominator_sum_squares,
        statistics.outcome_denominator_products,
        statistics.before_sum,
        statistics.before_sum_squares,
        statistics.outcome_before_products
    from {{ experiment_statistics() }} as statistics
    inner join {{ ref('int_experiments') }} as experiments on statistics.experiment_key = experiments.experiment_key
    inner join {{ ref('int_experiment_metrics') }} as metrics
        on statistics.experiment_key = metrics.experiment_key and statistics.metric_key = metrics.metric_key

),

moments as (

    select
        *,
        coalesce(outcome_sum / nullif(n, 0), 0) as outcome_mean,
        coalesce(denominator_sum / nullif(n, 0), 0) as denominator_mean,
        coalesce(before_sum / nullif(n, 0), 0) as before_mean,
        {{ sample_variance('outcome_sum', 'outcome_sum_squares', 'n', 'is_proportion') }} as outcome_variance,
        {{ sample_variance('denominator_sum', 'denominator_sum_squares', 'n', 'false') }} as denominator_variance,
        {{ sample_variance('before_sum', 'before_sum_squares', 'n', 'is_proportion') }} as before_variance,
        {{ sample_covariance('outcome_sum', 'denominator_sum', 'outcome_denominator_products', 'n') }}
            as denominator_covariance,
        {{ sample_covariance('outcome_sum', 'before_sum', 'outcome_before_products', 'n') }} as before_covariance
    from arms

),

means as (

    -- A ratio of sums: its variance by the delta method.
    select
        *,
        case
            when is_ratio then coalesce(outcome_sum / nullif(denominator_sum, 0), 0) else outcome_mean
        end as mean,
        case
            when not is_ratio then outcome_variance
            when denominator_mean = 0 or n <= 1 then 0e0
            else outcome_variance / pow(denominator_mean, 2)
                - 2 * denominator_covariance * outcome_mean / pow(denominator_mean, 3)
                + pow(outcome_mean, 2) * denominator_variance / pow(denominator_mean, 4)
        end as variance
    from moments

),

pairs as (

    select
        treatment.experiment_key,
        treatment.metric_key,
        treatment.variation,
        treatment.population,
        treatment.day,
        treatment.alpha,
        treatment.sequential_tuning,
        treatment.is_lower_better,
        treatment.prior_mean,
        treatment.prior_standard_deviation,
        treatment.prior_type,
        treatment.has_before,
        control.n as control_n,
        treatment.n,
        control.mean as control_mean,
        treatment.mean,
        control.variance as control_variance,
        treatment.variance,
        control.before_mean as control_before_mean,
        treatment.before_mean,
        control.before_variance as control_before_variance,
        treatment.before_variance,
        control.before_covariance as control_before_covariance,
        treatment.before_covariance,
        control.n + treatment.n as joint_n,
        {{ sample_variance(
            '(control.outcome_sum + treatment.outcome_sum)',
            '(control.outcome_sum_squares + treatment.outcome_sum_squares)',
            '(control.n + treatment.n)', 'treatment.is_proportion'
        ) }} as joint_outcome_variance,
        {{ sample_variance(
            '(control.before_sum + treatment.before_sum)',
            '(control.before_sum_squares + treatment.before_sum_squares)',
            '(control.n + treatment.n)', 'treatment.is_proportion'
        ) }} as joint_before_variance,
        {{ sample_covariance(
            '(control.outcome_sum + treatment.outcome_sum)', '(control.before_sum + treatment.before_sum)',
            '(control.outcome_before_products + treatment.outcome_before_products)',
            '(control.n + treatment.n)'
        ) }} as joint_before_covariance
    from means as treatment
    inner join means as control
        on
            treatment.experiment_key = control.experiment_key
            and treatment.metric_key = control.metric_key
            and treatment.population = control.population
            and treatment.day is not distinct from control.day
            and control.variation = control.control_variation
    where treatment.variation <> treatment.control_variation

),

adjustments as (

    -- Each pair as it is and, where the metric asks for it, with what was known before the first evaluation regressed out
    -- (CUPED: one coefficient from both arms together; none where either period does not vary).
    select
        pairs.*,
        'none' as adjustment,
        0e0 as theta
    from pairs

    union all

    select
        pairs.*,
        'cuped' as adjustment,
        case
            when joint_before_variance = 0 or joint_outcome_variance = 0 then 0e0
            else joint_before_covariance / joint_before_variance
        end as theta
    from pairs
    where has_before

),

adjusted as (

    select
        *,
        control_mean as control_unadjusted_mean,
        mean as unadjusted_mean,
        control_mean - theta * control_before_mean as control_adjusted_mean,
        mean - theta * before_mean as adjusted_mean,
        case
            when theta = 0 then control_variance
            when control_n <= 1 then 0e0
            else control_variance + pow(theta, 2) * control_before_variance - 2 * theta * control_before_covariance
        end as control_adjusted_variance,
        case
            when theta = 0 then variance
            when n <= 1 then 0e0
            else variance + pow(theta, 2) * before_variance - 2 * theta * before_covariance
        end as adjusted_variance
    from adjustments

),

differences as (

    select adjusted.*, scales.difference
    from adjusted
    cross join (select 'absolute' as difference union all select 'relative' as difference) as scales

),

judged as (

    -- Where nothing can be said, why. The order is that of gbstats, which refuses a control mean of 0 also for absolute
    -- differences, but in the Bayesian test does not.
    select
        *,
        case
            when control_n = 0 then 'no_control_identities'
            when n = 0 then 'no_identities'
            when control_adjusted_mean = 0 or control_unadjusted_mean = 0 then 'control_mean_zero'
            when control_n <= 1 or n <= 1 then 'too_few_identities'
            when control_adjusted_variance <= 0 or adjusted_variance <= 0 then 'zero_variance'
            else 'ok'
        end as frequentist_status,
        case
            when control_n = 0 then 'no_control_identities'
            when n = 0 then 'no_identities'
            when
                (difference = 'relative' or (prior_type = 'relative' and prior_standard_deviation is not null))
                and (control_adjusted_mean = 0 or control_unadjusted_mean = 0)
                then 'control_mean_zero'
            when control_n <= 1 or n <= 1 then 'too_few_identities'
            when control_adjusted_variance <= 0 or adjusted_variance <= 0 then 'zero_variance'
            else 'ok'
        end as bayesian_status
    from differences

),

lifts as (

    select
        *,
        case
            when difference = 'absolute' then adjusted_mean - control_adjusted_mean
            else (adjusted_mean - control_adjusted_mean) / control_unadjusted_mean
        end as lift,
        case
            when difference = 'absolute' then adjusted_variance / n + control_adjusted_variance / control_n
            else adjusted_variance / (pow(control_unadjusted_mean, 2) * n)
                + control_adjusted_variance * pow(unadjusted_mean, 2) / (pow(control_unadjusted_mean, 4) * control_n)
        end as lift_variance,
        -- Welch and Satterthwaite.
        pow(adjusted_variance / n + control_adjusted_variance / control_n, 2) / (
            pow(adjusted_variance, 2) / (pow(n, 2) * (n - 1))
            + pow(control_adjusted_variance, 2) / (pow(control_n, 2) * (control_n - 1))
        ) as degrees_of_freedom,
        (-2 * ln(alpha) + ln(-2 * ln(alpha) + 1)) / sequential_tuning as rho_squared
    from judged
    where bayesian_status = 'ok'  -- where the frequentist test can be made, so can the Bayesian

),

tested as (

    select
        *,
        sqrt(lift_variance) as standard_error,
        -abs(lift / sqrt(lift_variance)) as minus_statistic,
        alpha / 2 as half_alpha,
        joint_n * rho_squared + 1 as sequential_information
    from lifts

),

{{ student_t_cdf('tested', 'minus_statistic', 'degrees_of_freedom', 'one_sided_p_value', 'with_p_value') }},

{{ student_t_quantile('with_p_value', 'half_alpha', 'degrees_of_freedom', 'minus_critical', 'with_interval') }},

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
                when difference = 'relative' then pow(prior_standard_deviation, 2) / pow(control_unadjusted_mean, 2)
                else pow(prior_standard_deviation, 2) * pow(control_unadjusted_mean, 2)
            end as prior_variance,
            case
                when prior_type = difference then prior_mean
                when difference = 'relative' then prior_mean / abs(control_unadjusted_mean)
                else prior_mean * abs(control_unadjusted_mean)
            end as scaled_prior_mean
        from with_interval
    ) as scaled

),

believed as (

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

weighed as (

    select
        *,
        {{ normal_cdf('posterior_z') }} as chance_above,
        {{ normal_cdf('minus_posterior_z') }} as chance_below,
        {{ normal_density('posterior_z') }} as density,
        -{{ normal_quantile('half_alpha') }} as normal_critical
    from believed

),

estimated as (

    select
        *,
        -- The mean of the part of the posterior above and below 0: what choosing the other arm would forgo.
        posterior_mean * chance_above + posterior_standard_deviation * density as mean_above,
        posterior_standard_deviation * density - posterior_mean * chance_below as mean_below
    from weighed

)

select
    judged.experiment_key,
    judged.metric_key,
    judged.variation,
    judged.population,
    judged.day,
    judged.adjustment,
    judged.difference,

    judged.frequentist_status,
    judged.bayesian_status,
    judged.theta,

    estimated.lift,
    estimated.standard_error,
    case when judged.frequentist_status = 'ok' then estimated.degrees_of_freedom end as degrees_of_freedom,
    case
        when judged.frequentist_status = 'ok'
        then estimated.lift + estimated.minus_critical * estimated.standard_error
    end as low,
    case
        when judged.frequentist_status = 'ok'
        then estimated.lift - estimated.minus_critical * estimated.standard_error
    end as high,
    case when judged.frequentist_status = 'ok' then 2 * estimated.one_sided_p_value end as p_value,

    case when judged.frequentist_status = 'ok' then estimated.lift - {{ sequential_width() }} end as sequential_low,
    case when judged.frequentist_status = 'ok' then estimated.lift + {{ sequential_width() }} end as sequential_high,
    case
        when judged.frequentist_status = 'ok'
        then least(1e0, sqrt(estimated.sequential_information) * exp(
            -estimated.rho_squared * estimated.lift * estimated.lift * estimated.joint_n / estimated.lift_variance
            / (2 * estimated.sequential_information)
        ))
    end as sequential_p_value,

    estimated.posterior_mean as bayesian_lift,
    estimated.posterior_mean - estimated.normal_critical * estimated.posterior_standard_deviation as bayesian_low,
    estimated.posterior_mean + estimated.normal_critical * estimated.posterior_standard_deviation as bayesian_high,
    case when judged.is_lower_better then estimated.chance_below else estimated.chance_above end as chance_to_win,
    case when judged.is_lower_better then estimated.mean_below else estimated.mean_above end as loss_of_control,
    case when judged.is_lower_better then estimated.mean_above else estimated.mean_below end as loss_of_variation
from judged
left join estimated
    on
        judged.experiment_key = estimated.experiment_key
        and judged.metric_key = estimated.metric_key
        and judged.variation = estimated.variation
        and judged.population = estimated.population
        and judged.day is not distinct from estimated.day
        and judged.adjustment = estimated.adjustment
        and judged.difference = estimated.difference
