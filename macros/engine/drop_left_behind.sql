{#- Drops what a killed build of 0.1.0 may have left behind beside our tables, and the table of its model int_experiment_identities, which is no
    more. They may contain people, and nothing else removes them. Builds of 0.1.0 ran on DuckDB only. -#}
{% macro drop_left_behind() %}{{ return(adapter.dispatch('drop_left_behind', 'flagsmith_warehouse')()) }}{% endmacro %}

{% macro default__drop_left_behind() %}{{ return('') }}{% endmacro %}

{% macro duckdb__drop_left_behind() %}
    {%- if not is_built_now() -%}{{ return('') }}{%- endif -%}
    {%- set ours = [] -%}
    {%- for each in flagsmith_warehouse.relations_of_project() if each.layer != 'own' -%}
        {%- do ours.extend([(each.node.schema, each.node.alias ~ '__dbt_tmp'), (each.node.schema, each.node.alias ~ '__dbt_backup')]) -%}
        {%- if each.node.name == 'int_experiment_assignments' -%}{%- do ours.append((each.node.schema, 'int_experiment_identities')) -%}{%- endif -%}
    {%- endfor -%}
    {%- set found = run_query(
        "select table_schema, table_name, table_type from information_schema.tables where table_catalog = " ~ text_literal(target.database)
        ~ " and regexp_full_match(table_name, '.*__dbt_(tmp|backup)|int_experiment_identities')"
    ) -%}
    {%- set statements = [] -%}
    {%- for schema, name, type in found.rows if (schema, name) in ours -%}
        {%- do statements.append(
            'drop ' ~ ('view ' if type == 'VIEW' else 'table ')
            ~ api.Relation.create(database=target.database, schema=schema, identifier=name)
        ) -%}
    {%- endfor -%}
    {{ return(run_each(statements)) }}
{% endmacro %}
