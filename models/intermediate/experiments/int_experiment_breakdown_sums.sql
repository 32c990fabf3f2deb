{{ config(materialized='table_in_place') }}

{%- set populations = experiment_populations() -%}

with dimension_values as (

    select * from {{ ref('int_experiment_breakdown_values') }}

),

identities as (

    select
        identity_number,
        variation,
        epoch,
        is_quarantined,
        first_exposed_at,
        cast(activated_at as date) as activated_on
    from {{ ref('int_experiment_assignments') }}
    where experiment_key in (select experiment_key from dimension_values)

),

joined as (
    {% for population, counted in populations.items() %}
    select
        dimension_values.experiment_key,
        metrics.metric_key,
        '{{ population }}' as population,
        identities.variation,
        identities.epoch,
        dimension_values.dimension,
        dimension_values.dimension_value,
        count(*) as identities_assigned,
        count(*) filter (where identities.first_exposed_at <= metrics.last_matured_at) as identities
    from dimension_values
    inner join identities on dimension_values.identity_number = identities.identity_number
    inner join {{ ref('int_experiment_metrics') }} as metrics on dimension_values.experiment_key = metrics.experiment_key
    where {{ counted.who }}
    group by
        dimension_values.experiment_key, metrics.metric_key, identities.variation, identities.epoch,
        dimension_values.dimension, dimension_values.dimension_value
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

gained as (

    select
        dimension_values.experiment_key,
        outcomes.metric_key,
        outcomes.population,
        identities.variation,
        identities.epoch,
        dimension_values.dimension,
        dimension_values.dimension_value
        {%- for part in ['outcome', 'denominator', 'before'] %},
        sum(outcomes.{{ part }}) as {{ part }}_sum,
        sum(outcomes.{{ part }} * outcomes.{{ part }}) as {{ part }}_sum_squares
        {%- endfor %}
        {%- for other in ['denominator', 'before'] %},
        sum(outcomes.outcome * outcomes.{{ other }}) as outcome_{{ other }}_products
        {%- endfor %}
    from {{ ref('int_experiment_breakdown_outcomes') }} as outcomes
    inner join identities on outcomes.identity_number = identities.identity_number
    inner join dimension_values on outcomes.identity_number = dimension_values.identity_number
    group by
        dimension_values.experiment_key, outcomes.metric_key, outcomes.population, identities.variation,
        identities.epoch, dimension_values.dimension, dimension_values.dimension_value

),

arms as (

    -- An arm without identities of a value has a row too, as it has in int_experiment_statistics.
    select
        statistics.experiment_key,
        statistics.metric_key,
        statistics.variation,
        statistics.population,
        statistics.epoch,
        found.dimension,
        found.dimension_value
    from (
        select distinct experiment_key, metric_key, variation, population, epoch
        from {{ ref('int_experiment_statistics') }}
    ) as statistics
    inner join (
        select distinct experiment_key, dimension, dimension_value from dimension_values
    ) as found on statistics.experiment_key = found.experiment_key

)

select
    arms.experiment_key,
    arms.metric_key,
    arms.variation,
    arms.population,
    arms.epoch,
    arms.dimension,
    arms.dimension_value,

    coalesce(joined.identities_assigned, 0) as identities_assigned,
    coalesce(joined.identities, 0) as identities
    {%- for sum in experiment_sums() %},
    coalesce(gained.{{ sum }}, 0e0) as {{ sum }}
    {%- endfor %}
from arms
left join joined
    on
        arms.experiment_key = joined.experiment_key
        and arms.metric_key = joined.metric_key
        and arms.variation = joined.variation
        and arms.population = joined.population
        and arms.epoch = joined.epoch
        and arms.dimension = joined.dimension
        and arms.dimension_value = joined.dimension_value
left join gained
    on
        arms.experiment_key = gained.experiment_key
        and arms.metric_key = gained.metric_key
        and arms.variation = gained.variation
        and arms.population = gained.population
        and arms.epoch = gained.epoch
        and arms.dimension = gained.dimension
        and arms.dimension_value = gained.dimension_value
