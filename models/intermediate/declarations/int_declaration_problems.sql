{{ config(materialized=kept_unless_checked()) }}

with places as (

    -- Where each declaration was written.
    {% for name in declarations() -%}
    select '{{ name }}' as declaration, {{ text_literal(declared_in(name)) }} as declared_in
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

problems as (

    {% for kind in ['cell', 'weight', 'row', 'key'] -%}
    select severity, declaration, row_number, column_name, cell, problem, remedy
    from {{ ref('int_declaration_' ~ kind ~ '_problems') }}
    union all
    {% endfor %}
    select severity, declaration, cast(row_number as bigint) as row_number, column_name, cell, problem, remedy
    from {{ clean_file('file_problems') or file_problems() }} as file_problems
    where declaration in ({% for name in declarations() if not var(name, none) %}'{{ name }}', {% endfor %}'')

)

select
    problems.declaration,
    problems.severity,
    places.declared_in,
    problems.row_number,
    problems.column_name,

    max(case when keys.column_name = 'experiment_key' then keys.cell end) as experiment_key,
    max(case when keys.column_name = 'metric_key' then keys.cell end) as metric_key,
    problems.cell,
    problems.problem,
    problems.remedy
from problems
inner join places on problems.declaration = places.declaration
left join {{ ref('int_declaration_cells') }} as keys on problems.declaration = keys.declaration and problems.row_number = keys.row_number
group by
    problems.declaration, problems.severity, places.declared_in, problems.row_number, problems.column_name, problems.cell,
    problems.problem, problems.remedy
