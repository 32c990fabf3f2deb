{{ config(materialized='view') }}

{#- The sentences stand in macros/experiments/checks.sql, beside the thresholds. -#}
{%- for check_name, check in experiment_checks().items() %}
{%- set is_last_check = loop.last %}
{%- for finding, (status, sentence) in check.findings.items() %}
select
    '{{ check_name }}' as check_name,
    '{{ finding }}' as finding,
    '{{ status }}' as status,
    {{ text_literal(sentence) }} as sentence,
    {{ 'true' if check.spoils_results else 'false' }} as spoils_results,
    {{ text_literal(check.spoils_population) if check.spoils_population else 'cast(null as varchar)' }} as spoils_population
{%- if not (loop.last and is_last_check) %}

union all
{% endif %}
{%- endfor %}
{%- endfor %}
