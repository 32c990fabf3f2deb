{#- Operation: writes the marts, the seeds and the project's own models as Parquet files, each into `folder`/<schema>.<name>, unless it has
    more than `most_rows` rows, or is one of the project's own with a column that Parquet cannot hold. `folder`/listed says which:
    schema_name, identifier, layer, name, fault (the column, and its type), rows, is_copied.
    `flagsmith-warehouse refresh --target spark` reads them (loader/operations/spark.py). -#}
{% macro export_tables(folder, most_rows) %}{{ return(adapter.dispatch('export_tables', 'flagsmith_warehouse')(folder, most_rows)) }}{% endmacro %}

{% macro default__export_tables(folder, most_rows) %}{{ refuse_engine('export_tables', 'export_tables') }}{% endmacro %}

{% macro spark__export_tables(folder, most_rows) %}
    {%- set rows = [] -%}
    {%- for each in flagsmith_warehouse.relations_of_project() if each.layer in ['marts', 'seeds', 'own'] -%}
        {%- set relation = adapter.get_relation(database=each.node.database, schema=each.node.schema, identifier=each.node.alias) -%}
        {%- if relation -%}
            {%- set count = value_of('select count(*) from ' ~ relation) | int -%}
            {%- set faults = [] -%}
            {%- for column in (adapter.get_columns_in_relation(relation) if each.layer == 'own' else []) -%}
                {%- if modules.re.search('void|interval', column.dtype) -%}{%- do faults.append(column.name ~ ' is of type ' ~ column.dtype) -%}{%- endif -%}
            {%- endfor -%}
            {%- set is_copied = count <= most_rows and not faults -%}
            {%- if is_copied -%}
                {%- do spark_export(folder ~ '/' ~ each.node.schema ~ '.' ~ each.node.alias, 'select * from ' ~ relation) -%}
            {%- endif -%}
            {%- set cells = [] -%}
            {%- for cell in [each.node.schema, each.node.alias, each.layer, each.node.name, faults | join(', ')] -%}{%- do cells.append(text_literal(cell)) -%}{%- endfor -%}
            {%- do rows.append('(' ~ cells | join(', ') ~ ', ' ~ count ~ ', ' ~ is_copied ~ ')') -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if not rows -%}
        {{ exceptions.raise_compiler_error('There is nothing to publish: no model of this project is built in this catalogue.') }}
    {%- endif -%}
    {%- do spark_export(folder ~ '/listed', 'select * from values ' ~ rows | join(', ')
        ~ ' as listed (schema_name, identifier, layer, name, fault, rows, is_copied)') -%}
    {%- do spark_export_retention(folder) -%}
{% endmacro %}

{#- What retention did: `folder`/last_pruning, and `kept_history` (model, kept_before). With `retention_days`, and unless it is a dry run, also
    `old_deliveries`: file, environment and pruned_before of each file below `landing_files` with deliveries from before a cutoff. -#}
{% macro spark_export_retention(folder) %}
    {%- set landing = flagsmith_warehouse.last_pruning() -%}
    {%- if adapter.get_relation(database=none, schema=landing.schema, identifier=landing.identifier) -%}
        {%- do spark_export(folder ~ '/last_pruning', 'select * from ' ~ landing) -%}
    {%- endif -%}
    {%- set kept = [] -%}
    {%- for model, progress in spark_progress_of_all().items() if progress.kept_before -%}
        {%- do kept.append('(' ~ text_literal(model) ~ ', ' ~ text_literal(progress.kept_before) ~ ')') -%}
    {%- endfor -%}
    {%- if kept -%}
        {%- do spark_export(folder ~ '/kept_history', 'select * from values ' ~ kept | join(', ') ~ ' as kept (model, kept_before)') -%}
    {%- endif -%}
    {%- if var('landing_files', none) and var('retention_days', none) and not var('retention_dry_run', false) -%}
        {%- do spark_export(folder ~ '/old_deliveries',
            'select distinct files._metadata.file_path as file, pruned.environment, pruned.pruned_before from ' ~ spark_landed_files()
            ~ ' as files inner join ' ~ pruned() ~ ' as pruned on files.environment = pruned.environment'
            ~ ' and files.received_at < pruned.pruned_before') -%}
    {%- endif -%}
{% endmacro %}

{% macro spark_export(folder, query) %}
    {%- do run_query('set spark.sql.parquet.outputTimestampType=TIMESTAMP_MICROS') -%}
    {%- do run_query('insert overwrite directory ' ~ text_literal(folder) ~ ' using parquet ' ~ query) -%}
{% endmacro %}
