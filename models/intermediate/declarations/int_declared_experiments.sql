{{ config(materialized=kept_unless_checked()) }}

with declared as (
    {{ typed_rows('experiments') }}
),

numbered as (

    select
        *,
        row_number() over (partition by experiment_key order by row_number) as occurrence
    from declared
    where experiment_key is not null

),

first_rows as (

    -- Several rows with the same key are a fault, but still count as one experiment.
    select * from numbered
    where occurrence = 1

),

problems as (

    select experiment_key, min(problem || ': ' || remedy) as problem
    from {{ ref('int_declaration_problems') }}
    where declaration = 'experiments' and severity = 'problem'
    group by experiment_key

)

select
    first_rows.experiment_key,

    first_rows.row_number,
    first_rows.environment,
    first_rows.feature_name,
    first_rows.name,
    first_rows.description,
    first_rows.control_variation,
    first_rows.assignment_reason,
    coalesce(first_rows.expected_weights, 'auto') as expected_weights,
    first_rows.activation_event,
    coalesce(first_rows.alpha, 0.05e0) as alpha,
    coalesce(first_rows.decision_method, 'sequential') as decision_method,
    coalesce(first_rows.sequential_tuning, 5000e0) as sequential_tuning,
    coalesce(first_rows.power, 0.8e0) as power,
    coalesce(first_rows.primary_population, 'assigned') as primary_population,
    first_rows.breakdowns,
    coalesce(problems.problem, of_all.problem) as problem,

    first_rows.started_at,
    first_rows.ended_at
from first_rows
left join problems on first_rows.experiment_key = problems.experiment_key
left join (
    -- A fault of the header is a fault of every row.
    select min(problem || ': ' || remedy) as problem
    from {{ ref('int_declaration_problems') }}
    where declaration = 'experiments' and severity = 'problem' and {{ is_of_header('experiments') }}
) as of_all on true
