{{ config(materialized='table_in_place') }}

with weighted as (

    -- An epoch's weight is its share of all identities, in whatever variation.
    select
        *,
        sum(n) over (partition by experiment_key, metric_key, population, day, dimension, dimension_value, epoch) as epoch_n
    from {{ ref('int_experiment_moments') }}

),

strata as (

    select
        treatment.*,
        control.n as control_n,
        {%- for name in ['outcome_mean', 'denominator_mean', 'before_mean', 'outcome_variance', 'denominator_variance',
            'before_variance', 'denominator_covariance', 'before_covariance'] %}
        control.{{ name }} as control_{{ name }},
        {%- endfor %}
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
        ) }} as joint_before_covariance,
        control.is_comparable and treatment.is_comparable as has_both_arms
    from weighted as treatment
    inner join weighted as control
        on
            treatment.experiment_key = control.experiment_key
            and treatment.metric_key = control.metric_key
            and treatment.population = control.population
            and treatment.epoch = control.epoch
            and {{ same_slice('treatment', 'control') }}
            and control.variation = control.control_variation
    where treatment.variation <> treatment.control_variation

),

comparable as (

    -- Left out: epochs in which an arm has fewer than two identities. Without any other, all are kept, to say why.
    select
        *,
        n + control_n as joint_n,
        coalesce(epoch_n / nullif(sum(epoch_n) over pair, 0), 1e0 / count(*) over pair) as weight
    from (
        select
            *,
            bool_or(has_both_arms) over (
                partition by experiment_key, metric_key, variation, population, day, dimension, dimension_value
            ) as has_common_epoch
        from strata
    ) as judged
    where has_both_arms or not has_common_epoch
    window pair as (partition by experiment_key, metric_key, variation, population, day, dimension, dimension_value)

),

stratified as (

    -- Post-stratification: means weighted by the epochs' shares, variances by the squares of these. A variance is that of
    -- one identity: with one epoch, of the arm.
    select
        experiment_key,
        metric_key,
        variation,
        population,
        day,
        dimension,
        dimension_value,
        {%- for name in ['alpha', 'sequential_tuning', 'is_lower_better', 'prior_mean', 'prior_standard_deviation', 'prior_type',
            'has_before', 'is_ratio'] %}
        any_value({{ name }}) as {{ name }},
        {%- endfor %}
        any_value(has_common_epoch) as has_common_epoch,
        sum(joint_n) as joint_n,
        {%- for arm in ['', 'control_'] %}
        sum({{ arm }}n) as {{ arm }}n,
        {%- for part in ['outcome', 'denominator', 'before'] %}
        sum(weight * {{ arm }}{{ part }}_mean) as {{ arm }}{{ part }}_mean,
        {{ stratified(arm ~ part ~ '_variance', arm ~ 'n') }} as {{ arm }}{{ part }}_variance,
        {%- endfor %}
        {%- for part in ['denominator', 'before'] %}
        {{ stratified(arm ~ part ~ '_covariance', arm ~ 'n') }} as {{ arm }}{{ part }}_covariance,
        {%- endfor %}
        -- Satterthwaite's degrees of freedom of the arm's mean.
        coalesce(
            pow(sum(weight * weight * {{ arm }}outcome_variance / nullif({{ arm }}n, 0)), 2) / nullif(sum(
                pow(weight * weight * {{ arm }}outcome_variance / nullif({{ arm }}n, 0), 2) / nullif({{ arm }}n - 1, 0)
            ), 0),
            sum({{ arm }}n) - count(*)
        ) as {{ arm or 'arm_' }}degrees_of_freedom,
        {%- endfor %}
        {{ stratified('joint_outcome_variance', 'joint_n') }} as joint_outcome_variance,
        {{ stratified('joint_before_variance', 'joint_n') }} as joint_before_variance,
        {{ stratified('joint_before_covariance', 'joint_n') }} as joint_before_covariance
    from comparable
    group by experiment_key, metric_key, variation, population, day, dimension, dimension_value

)

select
    *
    {%- for arm in ['', 'control_'] %},
    -- A ratio of sums: its variance by the delta method.
    case
        when is_ratio then coalesce({{ arm }}outcome_mean / nullif({{ arm }}denominator_mean, 0), 0)
        else {{ arm }}outcome_mean
    end as {{ arm }}mean,
    case
        when not is_ratio then {{ arm }}outcome_variance
        when {{ arm }}denominator_mean = 0 or {{ arm }}n <= 1 then 0e0
        else {{ arm }}outcome_variance / pow({{ arm }}denominator_mean, 2)
            - 2 * {{ arm }}denominator_covariance * {{ arm }}outcome_mean / pow({{ arm }}denominator_mean, 3)
            + pow({{ arm }}outcome_mean, 2) * {{ arm }}denominator_variance / pow({{ arm }}denominator_mean, 4)
    end as {{ arm }}variance
    {%- endfor %}
from stratified
