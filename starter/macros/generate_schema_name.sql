{#- Schemas are named as they are configured: marts, and not analytics_marts. Change it, and every command still finds the tables. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name | trim if custom_schema_name is not none else target.schema }}
{%- endmacro %}
