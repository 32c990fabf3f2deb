{{ config(materialized='table_in_place') }}

select
    experiment_key,
    metric_key,
    variation,
    population,
    day,
    dimension,
    dimension_value,

    cast(sum(identities_assigned) as bigint) as identities_assigned,
    cast(sum(identities) as bigint) as identities
    {%- for sum in experiment_sums() %},
    sum({{ sum }}) as {{ sum }}
    {%- endfor %}
from {{ ref('int_experiment_strata') }}
group by experiment_key, metric_key, variation, population, day, dimension, dimension_value
