{{ config(materialized='table_in_place') }}

{%- set models = [
    'int_declaration_problems', 'int_experiment_declaration_warnings', 'int_experiment_date_warnings',
    'int_declared_event_warnings', 'int_outcome_problems', 'int_flagsmith_event_warnings',
] %}

{% for model in models -%}
select
    severity,
    declared_in,
    row_number,
    column_name,

    experiment_key,
    metric_key,
    cell,
    problem,
    remedy
from {{ ref(model) }}
{{ 'union all' if not loop.last }}
{% endfor %}
