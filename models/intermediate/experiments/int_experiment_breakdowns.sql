{{ config(materialized='table_in_place') }}

with compared as (

    -- The adjusted comparison where it was asked for and could be made.
    select
        series.*,
        case when cuped_status = 'ok' then cuped_relative_p_value else relative_p_value end as p_value,
        case when cuped_status = 'ok' then cuped_absolute_lift else absolute_lift end as lift,
        case when cuped_status = 'ok' then cuped_absolute_standard_error else absolute_standard_error end as standard_error,
        -- An arm without variance (nobody bought) can have one after the adjustment. The variance of a few identities is
        -- itself too uncertain to weigh by.
        (status = 'ok' or cuped_status = 'ok')
        and series.identities >= metrics.minimum_sample
        and series.control_identities >= metrics.minimum_sample as is_weighed
    from {{ ref('int_experiment_series') }} as series
    inner join {{ ref('int_experiment_metrics') }} as metrics
        on series.experiment_key = metrics.experiment_key and series.metric_key = metrics.metric_key
    where dimension is not null and dimension <> 'days_since_exposure'

),

ranked as (

    -- The family of comparisons: all variations and values of a breakdown.
    select
        *,
        count(p_value) over breakdown as comparisons,
        case
            when status <> 'control' then count(case when not is_weighed then 1 end) over (
                partition by experiment_key, metric_key, variation, population, dimension
            )
        end as values_left_out,
        row_number() over (
            partition by experiment_key, metric_key, population, dimension, p_value is not null
            order by p_value, variation, dimension_value
        ) as comparison_rank
    from compared
    window breakdown as (partition by experiment_key, metric_key, population, dimension)

),

corrected as (

    select
        *,
        case
            when p_value is not null then least(1e0, min(comparisons * p_value / comparison_rank) over (
                partition by experiment_key, metric_key, population, dimension, p_value is not null
                order by comparison_rank
                rows between current row and unbounded following
            ))
        end as p_value_benjamini_hochberg
    from ranked

),

weighted as (

    select
        *,
        1 / pow(standard_error, 2) as weight,
        sum(lift / pow(standard_error, 2)) over effects / sum(1 / pow(standard_error, 2)) over effects as common_lift
    from compared
    where is_weighed
    window effects as (partition by experiment_key, metric_key, variation, population, dimension)

),

heterogeneity as (

    -- Cochran's Q: are the lifts of the values farther from their common one than their errors allow?
    select
        experiment_key,
        metric_key,
        variation,
        population,
        dimension,
        sum(weight * pow(lift - common_lift, 2)) as statistic,
        count(*) - 1 as degrees_of_freedom
    from weighted
    group by experiment_key, metric_key, variation, population, dimension

),

{{ chi_square_survival('heterogeneity', 'statistic', 'degrees_of_freedom', 'p_value_interaction', 'interactions') }}

select
    corrected.experiment_key,
    corrected.metric_key,
    corrected.variation,
    corrected.population,
    corrected.dimension,
    corrected.dimension_value,

    corrected.role,
    corrected.status,
    corrected.cuped_status,
    corrected.identities_assigned,
    corrected.identities,
    corrected.control_identities_assigned,
    corrected.mean,
    corrected.control_mean,
    corrected.cuped_theta,
    corrected.comparisons,
    corrected.p_value_benjamini_hochberg,
    interactions.p_value_interaction,
    corrected.values_left_out
    {%- for column in result_columns() %},
    corrected.{{ column }}
    {%- endfor %}
from corrected
left join interactions
    on
        corrected.experiment_key = interactions.experiment_key
        and corrected.metric_key = interactions.metric_key
        and corrected.variation = interactions.variation
        and corrected.population = interactions.population
        and corrected.dimension = interactions.dimension
