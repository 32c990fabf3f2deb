{#- Faults of the seeds' files themselves: an encoding, a delimiter, a row with too many cells. No model can see these.
    `flagsmith-warehouse refresh` reads the files and writes this table. -#}
{% macro file_problems() %}
    {{ return(api.Relation.create(
        database=target.get('database'),
        schema=generate_schema_name('intermediate', none) | trim,
        identifier='file_problems'
    )) }}
{% endmacro %}

{#- Creates that table if it is missing, and deletes its rows about files that dbt is about to read itself. Rows about
    cohorts stay, because they hold as long as dbt reads the same cohorts (misread_cohorts). -#}
{% macro create_file_problems() %}
    {%- set statements = [
        'create schema if not exists ' ~ file_problems().without_identifier(),
        'create table if not exists ' ~ file_problems() ~ ' (severity string, declaration string, row_number bigint, '
            ~ 'column_name string, cell string, problem string, remedy string, fingerprint string)',
        add_column_if_missing(file_problems(), 'fingerprint', 'string'),
    ] -%}
    {%- if execute -%}
    {%- for name in declarations() if 'seed.' ~ var('declared_by', 'flagsmith_warehouse') ~ '.' ~ name in selected_resources -%}
        {%- do statements.append('delete from ' ~ file_problems() ~ " where declaration = '" ~ name ~ "'") -%}
    {%- endfor -%}
    {%- endif -%}
    {{ return(run_each(statements)) }}
{% endmacro %}
