{{ config(materialized='table_in_place') }}

with pairs as (

    select * from {{ ref('int_experiment_pairs') }}

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
            when not has_common_epoch then 'too_few_identities'
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
            when not has_common_epoch then 'too_few_identities'
            when control_adjusted_variance <= 0 or adjusted_variance <= 0 then 'zero_variance'
            else 'ok'
        end as bayesian_status
    from differences

),

lifts as (

    -- Where the frequentist test can be made, so can the Bayesian.
    select
        *,
        case
            when bayesian_status <> 'ok' then null
            when difference = 'absolute' then adjusted_mean - control_adjusted_mean
            else (adjusted_mean - control_adjusted_mean) / control_unadjusted_mean
        end as lift,
        case
            when bayesian_status <> 'ok' then null
            when difference = 'absolute' then adjusted_variance / n + control_adjusted_variance / control_n
            else adjusted_variance / (pow(control_unadjusted_mean, 2) * n)
                + control_adjusted_variance * pow(unadjusted_mean, 2) / (pow(control_unadjusted_mean, 4) * control_n)
        end as lift_variance,
        -- Welch and Satterthwaite.
        case
            when bayesian_status = 'ok'
                then pow(adjusted_variance / n + control_adjusted_variance / control_n, 2) / (
                    pow(adjusted_variance, 2) / (pow(n, 2) * arm_degrees_of_freedom)
                    + pow(control_adjusted_variance, 2) / (pow(control_n, 2) * control_degrees_of_freedom)
                )
        end as degrees_of_freedom
    from judged

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

    frequentist_status,
    bayesian_status,
    theta,

    joint_n,
    control_unadjusted_mean as control_mean,
    lift,
    lift_variance,
    sqrt(lift_variance) as standard_error,
    degrees_of_freedom,

    alpha,
    sequential_tuning,
    is_lower_better,
    prior_mean,
    prior_standard_deviation,
    prior_type
from lifts
