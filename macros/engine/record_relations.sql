{#- Writes down in the table `dbt_relations`, beside the landing, where this run puts our models and seeds, and those of
    the project that has installed us: publish, erase and status find them there, whatever the schemas are called.
    Rows of models that are no longer in the project stay, since their tables do: erasing must find them. -#}
{% macro record_relations() %}{{ return(adapter.dispatch('record_relations', 'flagsmith_warehouse')()) }}{% endmacro %}

{% macro default__record_relations() %}{{ return('') }}{% endmacro %}

{% macro duckdb__record_relations() %}
    {%- if not execute or flags.WHICH not in ['run', 'build', 'seed', 'retry'] -%}{{ return('') }}{%- endif -%}
    {%- set schema = adapter.quote(target.database) ~ '.' ~ adapter.quote(var('landing_schema', 'landing')) -%}
    {%- set rows = [] -%}
    {%- for each in flagsmith_warehouse.relations_of_project() if each.node.database == target.database -%}
        {%- set cells = [] -%}
        {%- for cell in [each.node.schema, each.node.alias, each.layer, each.node.name] -%}
            {%- do cells.append(flagsmith_warehouse.text_literal(cell)) -%}
        {%- endfor -%}
        {%- do rows.append('(' ~ cells | join(', ') ~ ')') -%}
    {%- endfor %}
    create schema if not exists {{ schema }};
    create table if not exists {{ schema }}.dbt_relations (
        schema_name varchar, identifier varchar, layer varchar, name varchar
    );
    insert into {{ schema }}.dbt_relations
    from (values {{ rows | sort | join(', ') }}) as found (schema_name, identifier, layer, name)
    where (schema_name, identifier, layer, name) not in (select * from {{ schema }}.dbt_relations)
{% endmacro %}

{#- Our models and seeds, and those of the project that has installed us: a list of {node, layer (seeds, staging, intermediate or
    marts for ours, `own` for the project's)}. -#}
{% macro relations_of_project() %}
    {%- set found = [] -%}
    {%- for node in graph.nodes.values() if node.resource_type in ['model', 'seed', 'snapshot']
        and node.package_name in ['flagsmith_warehouse', project_name] and node.config.materialized != 'ephemeral' -%}
        {%- set layer = 'own' -%}
        {%- if node.package_name == 'flagsmith_warehouse' -%}
            {%- set layer = 'seeds' if node.resource_type == 'seed' else node.fqn[1] -%}
        {%- elif node.resource_type == 'seed' and node.name in flagsmith_warehouse.declarations() -%}
            {%- set layer = 'seeds' -%}
        {%- endif -%}
        {%- do found.append({'node': node, 'layer': layer}) -%}
    {%- endfor -%}
    {{ return(found) }}
{% endmacro %}
