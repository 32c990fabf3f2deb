{{ config(materialized='table_in_place') }}

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
from {{ ref('int_declaration_problems') }}

union all

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
from {{ ref('int_experiment_declaration_warnings') }}

union all

-- Faults in the relation of the outcomes.
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
from {{ ref('int_outcome_problems') }}
