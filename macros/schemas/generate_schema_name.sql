{#- Schemas are named exactly landing, seeds, staging, intermediate and marts, because analysts type these names. If another
    project has installed this one as a package, the rule of that project applies: its own macro of this name, or dbt's
    default. (dbt would not call that macro for the models of a package that has its own.) -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- if project_name == 'flagsmith_warehouse' and custom_schema_name is not none -%}
        {{ custom_schema_name | trim }}
    {%- elif (context.get(project_name) or {}).get('generate_schema_name') and project_name != 'flagsmith_warehouse' -%}
        {{ context[project_name].generate_schema_name(custom_schema_name, node) }}
    {%- else -%}
        {{ default__generate_schema_name(custom_schema_name, node) }}
    {%- endif -%}
{%- endmacro %}
