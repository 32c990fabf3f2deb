{#- The relation with the outcomes: what `var('conversion_events')` names, or the example seed. -#}
{% macro conversion_events() %}
    {{ return(var('conversion_events', none) or ref('example_conversion_events')) }}
{% endmacro %}

{#- Whether outcomes say in which environment they happened: the column `environment` is optional. -#}
{% macro conversion_events_have_environment() %}
    {#- The example's seed has it, and need not exist yet (`dbt compile` in a fresh clone). -#}
    {%- if not execute or not var('conversion_events', none) -%}{{ return(true) }}{%- endif -%}
    {%- set names = run_query('select * from ' ~ conversion_events() ~ ' limit 0').column_names -%}
    {{ return('environment' in (names | map('lower') | list)) }}
{% endmacro %}

{#- The sufficient statistics that the results are computed from: this project's own, or a relation of the same columns
    named by `var('experiment_statistics')` (sums made on a cluster, another tool's, a simulation's). -#}
{% macro experiment_statistics() %}
    {{ return(var('experiment_statistics', none) or ref('int_experiment_statistics')) }}
{% endmacro %}
