{{ config(materialized='view_in_place') }}

{#- A relation of another's sums need not know epochs, or who does not count yet. -#}
{%- set brought = var('experiment_statistics', none) %}
{%- set columns = (relation_columns(brought) if brought and is_built_now() else none) or {'epoch': 'INTEGER', 'identities_assigned': 'BIGINT'} %}

select
    experiment_key,
    metric_key,
    variation,
    population,
    {{ 'epoch' if 'epoch' in columns else '1 as epoch' }},
    day,
    cast(null as string) as dimension,
    cast(null as string) as dimension_value,

    {{ 'identities_assigned' if 'identities_assigned' in columns else 'identities as identities_assigned' }},
    identities,
    outcome_sum,
    outcome_sum_squares,
    denominator_sum,
    denominator_sum_squares,
    outcome_denominator_products,
    before_sum,
    before_sum_squares,
    outcome_before_products
from {{ experiment_statistics() }}

union all

select
    experiment_key,
    metric_key,
    variation,
    population,
    epoch,
    cast(null as date) as day,
    'days_since_exposure' as dimension,
    cast(days_since_exposure as string) as dimension_value,

    identities as identities_assigned,
    identities,
    outcome_sum,
    outcome_sum_squares,
    denominator_sum,
    denominator_sum_squares,
    outcome_denominator_products,
    before_sum,
    before_sum_squares,
    outcome_before_products
from {{ ref('int_experiment_curve_sums') }}

union all

select
    experiment_key,
    metric_key,
    variation,
    population,
    epoch,
    cast(null as date) as day,
    dimension,
    dimension_value,

    identities_assigned,
    identities,
    outcome_sum,
    outcome_sum_squares,
    denominator_sum,
    denominator_sum_squares,
    outcome_denominator_products,
    before_sum,
    before_sum_squares,
    outcome_before_products
from {{ ref('int_experiment_breakdown_sums') }}
