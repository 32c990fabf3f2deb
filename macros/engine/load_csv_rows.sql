{#- Writes the rows of a seed. dbt calls it by this name. dbt-spark's own version writes an empty cell as the text 'None', and a
    cell with an apostrophe as a broken query, because its session knows no parameters.
    model: the seed; agate_table: its rows. Returns the first statement, which dbt keeps with its compiled files. -#}
{% macro spark__load_csv_rows(model, agate_table) %}
    {%- set types = model['config'].get('column_types', {}) -%}
    {%- set statements = [] -%}
    {%- for rows in agate_table.rows | batch(get_batch_size()) -%}
        {%- set statement -%}
            insert into {{ this.render() }} values
            {% for row in rows %}
            (
                {%- for name in agate_table.column_names -%}
                    {%- set value = row[loop.index0] -%}
                    cast({{ 'null' if value is none else flagsmith_warehouse.text_literal(value | string) }} as {{ types.get(name, adapter.convert_type(agate_table, loop.index0)) }})
                    {{- ', ' if not loop.last }}
                {%- endfor -%}
            ){{ ',' if not loop.last }}
            {% endfor %}
        {%- endset -%}
        {%- do adapter.add_query(statement, abridge_sql_log=True) -%}
        {%- do statements.append(statement) -%}
    {%- endfor -%}
    {{ return(statements[0] if statements else '') }}
{% endmacro %}
