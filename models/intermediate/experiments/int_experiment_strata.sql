{{ config(materialized='view_in_place') }}

{#- A relation of another's sums need not know epochs, or who does not count yet. -#}
{%- set brought = var('experiment_statistics', none) %}
{%- set columns = (relation_columns(brought) if brought and is_built_now() else none) or {'epoch': 'INTEGER', 'identities_assigned': 'BIGINT'} %}
{#- The whole, and its slices: where they are, and the columns that say which slice. #}
{%- set parts = [
    {
        'relation': experiment_statistics(),
        'epoch': 'epoch' if 'epoch' in columns else '1',
        'day': 'day', 'dimension': 'cast(null as string)', 'dimension_value': 'cast(null as string)',
        'identities_assigned': 'identities_assigned' if 'identities_assigned' in columns else 'identities',
    },
    {
        'relation': ref('int_experiment_curve_sums'),
        'epoch': 'epoch', 'day': 'cast(null as date)',
        'dimension': "'days_since_exposure'", 'dimension_value': 'cast(days_since_exposure as string)',
        'identities_assigned': 'identities',
    },
    {
        'relation': ref('int_experiment_breakdown_sums'),
        'epoch': 'epoch', 'day': 'cast(null as date)', 'dimension': 'dimension', 'dimension_value': 'dimension_value',
        'identities_assigned': 'identities_assigned',
    },
] %}

with quantile_metrics as (

    select experiment_key, metric_key
    from {{ ref('int_experiment_metrics') }}
    where quantile is not null

),

last_days as (

    select experiment_key, max(day) as last_day
    from {{ experiment_statistics() }}
    group by experiment_key

)

-- A quantile is not the sum of those of days, so it has the last day alone, and no slices.
{% for part in parts %}
select
    sums.experiment_key,
    sums.metric_key,
    sums.variation,
    sums.population
    {%- for column in ['epoch', 'day', 'dimension', 'dimension_value', 'identities_assigned'] %},
    {{ part[column] }} as {{ column }}
    {%- endfor %},
    identities
    {%- for sum in experiment_sums() %},
    {{ sum }}
    {%- endfor %}
from {{ part.relation }} as sums
left join quantile_metrics
    on sums.experiment_key = quantile_metrics.experiment_key and sums.metric_key = quantile_metrics.metric_key
{%- if loop.first %}
left join last_days on sums.experiment_key = last_days.experiment_key
where quantile_metrics.metric_key is null or sums.day is not distinct from last_days.last_day
{%- else %}
where quantile_metrics.metric_key is null
{%- endif %}
{{ 'union all' if not loop.last }}
{% endfor %}
