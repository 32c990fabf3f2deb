{{ config(materialized='table_in_place') }}

with tested as (

    select
        *,
        -abs(lift / standard_error) as minus_statistic,
        alpha / 2 as half_alpha,
        (-2 * ln(alpha) + ln(-2 * ln(alpha) + 1)) / sequential_tuning as rho_squared
    from {{ ref('int_experiment_lifts') }}
    where frequentist_status = 'ok'

),

{{ student_t_cdf('tested', 'minus_statistic', 'degrees_of_freedom', 'one_sided_p_value', 'with_p_value') }},

{{ student_t_quantile('with_p_value', 'half_alpha', 'degrees_of_freedom', 'minus_critical', 'with_critical') }},

estimated as (

    select
        *,
        joint_n * rho_squared + 1 as sequential_information
    from with_critical

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

    lift + minus_critical * standard_error as low,
    lift - minus_critical * standard_error as high,
    2 * one_sided_p_value as p_value,

    lift - {{ sequential_width() }} as sequential_low,
    lift + {{ sequential_width() }} as sequential_high,
    least(1e0, sqrt(sequential_information) * exp(
        -rho_squared * lift * lift * joint_n / lift_variance / (2 * sequential_information)
    )) as sequential_p_value
from estimated
