{{ config(materialized='table_in_place') }}

{%- set families = [
    'declarations', 'assignments', 'sample_ratio', 'epochs', 'quarantine', 'activation', 'exposures', 'outcomes', 'clocks', 'environments', 'before',
] %}
with checks as (

    {%- for family in families %}

    select
        experiment_key,
        epoch,
        check_name,
        finding,
        value,
        threshold,
        affected,
        total,
        detail
    from {{ ref('int_experiment_checks__' ~ family) }}
    {%- if not loop.last %}

    union all
    {%- endif %}
    {%- endfor %}

),

experiments as (

    select * from {{ ref('int_experiments') }}

),

texts as (

    select * from {{ ref('int_experiment_check_texts') }}

)

select
    checks.experiment_key,
    cast(checks.epoch as integer) as epoch,
    checks.check_name,

    texts.status,
    cast(checks.value as double) as value,
    checks.threshold,
    {{ filled('texts.sentence', {
        'affected': grouped_digits('checks.affected'),
        'total': grouped_digits('checks.total'),
        'environment': 'experiments.environment',
        'assignment_reason': 'experiments.assignment_reason',
        'control_variation': 'experiments.control_variation',
        'feature_name': 'experiments.feature_name',
        'problem': 'experiments.problem',
        'detail': 'checks.detail',
    }) }} as message,
    texts.spoils_results,
    texts.spoils_population
from checks
inner join experiments on checks.experiment_key = experiments.experiment_key
-- A finding without a sentence fails the tests of this table.
left join texts on checks.check_name = texts.check_name and checks.finding = texts.finding
