{{ config(materialized='table_in_place') }}

{%- set arm = 'experiment_key, metric_key, variation, population, epoch' -%}
{#- The 97.5 % quantile of the normal distribution. -#}
{%- set z = '1.959963984540054e0' -%}
{#- The quantile and the ends of its 95 % interval, as numbers of the events below. Rounded, because 100 * 0.29 is below 29 in floats. -#}
{%- set half_width = z ~ ' * sqrt(quantile * (1 - quantile) / events)' -%}
{%- set levels = {
    'quantile_value': 'round((events - 1) * quantile, 9)',
    'low_value': 'round((events - 1) * greatest(0e0, quantile - ' ~ half_width ~ '), 9)',
    'high_value': 'round((events - 1) * least(1e0, quantile + ' ~ half_width ~ '), 9)',
} -%}
with {{ events_of_identities("metrics.aggregation = 'quantile'") }},

values_of_identities as (

    select
        experiment_key,
        metric_key,
        quantile,
        variation,
        epoch,
        is_quarantined,
        cast(activated_at as date) as activated_day,
        identity_number,
        is_until_change,
        value
    from events_of_identities
    -- An identity without its whole window behind it does not count yet.
    where first_exposed_at <= last_matured_at and value is not null

),

values_by_population as (
    {% for population, counted in experiment_populations().items() %}
    select
        experiment_key, metric_key, variation, epoch, quantile, identity_number, value,
        '{{ population }}' as population
    from values_of_identities
    where {{ counted.outcomes }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

ranked_values as (

    select
        *,
        row_number() over (partition by {{ arm }} order by value) - 1 as smaller_values,
        count(*) over (partition by {{ arm }}) as events
    from values_by_population

),

neighbours as (

    -- A quantile lies between two values.
    select
        {{ arm }}, quantile, events
        {%- for name, level in levels.items() %},
        {{ level }} - floor({{ level }}) as {{ name }}_share,
        max(case when smaller_values = floor({{ level }}) then value end) as {{ name }}_below,
        max(case when smaller_values = ceil({{ level }}) then value end) as {{ name }}_above
        {%- endfor %}
    from ranked_values
    group by {{ arm }}, quantile, events

),

quantiles as (

    select
        {{ arm }}, quantile, events
        {%- for name in levels %},
        {{ name }}_below + ({{ name }}_above - {{ name }}_below) * {{ name }}_share as {{ name }}
        {%- endfor %}
    from neighbours

),

clusters as (

    -- How many events each identity has, and how many of them are not above the quantile.
    select
        {% for column in arm.split(', ') %}quantiles.{{ column }}, {% endfor %}
        ranked_values.identity_number,
        cast(count(*) as double) as events,
        cast(sum(case when ranked_values.value <= quantiles.quantile_value then 1 else 0 end) as double) as smaller
    from ranked_values
    inner join quantiles
        on
            {%- for column in arm.split(', ') %}
            ranked_values.{{ column }} = quantiles.{{ column }} {{ 'and' if not loop.last }}
            {%- endfor %}
    group by {% for column in arm.split(', ') %}quantiles.{{ column }}, {% endfor %}ranked_values.identity_number

),

cluster_moments as (

    select
        {{ arm }},
        cast(count(*) as double) as identities,
        sum(events) as events,
        sum(smaller) as smaller,
        {{ sample_variance('sum(events)', 'sum(events * events)', 'cast(count(*) as double)', 'false') }} as events_variance,
        {{ sample_variance('sum(smaller)', 'sum(smaller * smaller)', 'cast(count(*) as double)', 'false') }} as smaller_variance,
        {{ sample_covariance('sum(events)', 'sum(smaller)', 'sum(events * smaller)', 'cast(count(*) as double)') }} as covariance
    from clusters
    group by {{ arm }}

),

variances as (

    -- That of independent events, times what the identities' sharing them adds to the variance of the share below.
    select
        {% for column in arm.split(', ') %}quantiles.{{ column }}, {% endfor %}
        quantiles.quantile,
        quantiles.events,
        cluster_moments.identities,
        quantiles.quantile_value,
        (quantiles.events - 1) * pow((quantiles.high_value - quantiles.low_value) / (2 * {{ z }}), 2)
        * cluster_moments.identities / pow(cluster_moments.events, 2) * (
            cluster_moments.smaller_variance
            - 2 * cluster_moments.smaller / cluster_moments.events * cluster_moments.covariance
            + pow(cluster_moments.smaller / cluster_moments.events, 2) * cluster_moments.events_variance
        ) / (quantiles.quantile * (1 - quantiles.quantile) / quantiles.events) as variance
    from quantiles
    inner join cluster_moments
        on
            {%- for column in arm.split(', ') %}
            quantiles.{{ column }} = cluster_moments.{{ column }} {{ 'and' if not loop.last }}
            {%- endfor %}

)

select
    experiment_key,
    metric_key,
    variation,
    population,
    epoch,

    quantile_value,
    identities,
    cast(events as double) as events,
    -- As gbstats: not below 0.00001 from 100 events on, and refused below 1,000 if the values do not vary.
    case
        when variance <= 0 and events < 1000 then 0e0
        when events < 100 then variance
        else greatest(variance, 1e-5)
    end as variance,
    -- The interval must not reach the ends, and one identity says nothing of others.
    identities >= 2
    and events > pow({{ z }}, 2) * greatest(quantile / (1 - quantile), (1 - quantile) / quantile) as is_comparable
from variances
