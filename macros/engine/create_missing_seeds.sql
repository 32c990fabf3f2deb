{#- Creates the seeds' tables, empty, where `dbt seed` has not run yet, so that `dbt run` alone works on a fresh clone. -#}
{% macro create_missing_seeds() %}
    {{ return(adapter.dispatch('create_missing_seeds', 'flagsmith_warehouse')()) }}
{% endmacro %}

{% macro default__create_missing_seeds() %}
    {{ return('') }}
{% endmacro %}

{% macro duckdb__create_missing_seeds() %}
    {%- if execute -%}
    {%- for seed in graph.nodes.values() if seed.resource_type == 'seed' and seed.name in declarations()
        and seed.package_name == var('declared_by', 'flagsmith_warehouse') and seed.unique_id not in selected_resources %}
    create schema if not exists "{{ seed.database }}"."{{ seed.schema }}";
    create table if not exists "{{ seed.database }}"."{{ seed.schema }}"."{{ seed.alias }}" (
        {% for name, type in seed.config.column_types.items() %}"{{ name }}" {{ type }}{{ ', ' if not loop.last }}{% endfor %}
    );
    {%- endfor %}
    {%- endif -%}
{% endmacro %}

{% macro spark__create_missing_seeds() %}
    {%- if execute -%}
    {%- for seed in graph.nodes.values() if seed.resource_type == 'seed' and seed.name in declarations()
        and seed.package_name == var('declared_by', 'flagsmith_warehouse') and seed.unique_id not in selected_resources -%}
        {%- set columns = [] -%}
        {%- for name, type in seed.config.column_types.items() -%}{%- do columns.append(name ~ ' ' ~ type_named(type)) -%}{%- endfor -%}
        {%- do run_query('create schema if not exists ' ~ seed.schema) -%}
        {%- do run_query('create table if not exists ' ~ seed.schema ~ '.' ~ seed.alias ~ ' (' ~ columns | join(', ') ~ ')') -%}
    {%- endfor -%}
    {%- endif -%}
{% endmacro %}
