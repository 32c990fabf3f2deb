{{ config(materialized=kept_unless_checked()) }}

{%- set faults = judge_cohorts(given_cohorts()).faults %}
{%- set misread = misread_cohorts() %}

with faults as (

    {% for fault in faults or [{}] -%}
    select
        {{ text_literal(fault.severity or '') }} as severity,
        'dbt_project.yml' as declared_in,
        cast({{ 'null' if fault.number is none or not fault else fault.number }} as bigint) as row_number,
        {{ text_literal(fault.where or '') }} as column_name,
        {{ text_literal(fault.called or '') }} as cohort_key,
        cast(null as string) as cell,
        {{ text_literal((fault.where ~ ' ' ~ fault.what) if fault else '') }} as problem,
        {{ text_literal((fault.remedy or '').rstrip('.')) }} as remedy
    {{ 'where 1 = 0' if not fault }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
)

select * from faults

union all

select
    severity,
    'dbt_project.yml' as declared_in,
    cast(
        case fingerprint
            {%- for fingerprint, number in misread.items() %}
            when '{{ fingerprint }}' then {{ number }}
            {%- endfor %}
            when '' then 0
        end as bigint
    ) as row_number,
    column_name,
    cast(null as string) as cohort_key,
    cell,
    problem,
    remedy
from {{ clean_file('file_problems') or file_problems() }} as file_problems
where
    declaration = 'cohorts'
    and fingerprint in ({% for fingerprint in misread %}'{{ fingerprint }}', {% endfor %}'')
