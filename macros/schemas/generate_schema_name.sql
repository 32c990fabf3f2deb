{#- Schemas are named exactly landing, seeds, staging, intermediate and marts: a plain name is what an analyst
    types. Where another project has installed this one as a package, that project's rule holds: its own macro of this
    name, which dbt does not ask for the models of a package that has one, or dbt's default. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- if project_name == 'flagsmith_warehouse' and custom_schema_name is not none -%}
        {{ custom_schema_name | trim }}
    {%- elif (context.get(project_name) or {}).get('generate_schema_name') and project_name != 'flagsmith_warehouse' -%}
        {{ context[project_name].generate_schema_name(custom_schema_name, node) }}
    {%- else -%}
        {{ default__generate_schema_name(custom_schema_name, node) }}
    {%- endif -%}
{%- endmacro %}
