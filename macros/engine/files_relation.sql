{#- A relation of the rows of all CSV and Parquet files in a folder and those below it; none where there is no such file.
    Cells of CSV files are texts. Files may have their columns in any order, and need not have all of them but those in
    `needed`. A file, or a line of a CSV file, that cannot be read is left out: `file_faults` names it. -#}
{% macro files_relation(folder, needed=[]) %}{{ return(adapter.dispatch('files_relation', 'flagsmith_warehouse')(folder, needed)) }}{% endmacro %}

{% macro default__files_relation(folder, needed) %}{{ refuse_engine('files_relation', 'files_relation') }}{% endmacro %}

{% macro duckdb__files_relation(folder, needed) %}
    {%- set parts = [] -%}
    {%- for kind in ['read_csv', 'read_parquet'] -%}
        {%- set files = [] -%}
        {%- for found in files_in(folder, needed) if found.kind == kind and not found.fault -%}
            {%- do files.append(text_literal(found.file)) -%}
        {%- endfor -%}
        {%- if files -%}
            {%- do parts.append('select * from ' ~ file_reader(kind, '[' ~ files | join(', ') ~ ']', 'union_by_name = true')) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return('(' ~ parts | join(' union all by name ') ~ ')' if parts else none) }}
{% endmacro %}


{#- What of such a folder cannot be read: a list of {file, line, lines (how many of that file), error}; of a whole file
    without a line. -#}
{% macro file_faults(folder, needed=[]) %}{{ return(adapter.dispatch('file_faults', 'flagsmith_warehouse')(folder, needed)) }}{% endmacro %}

{% macro default__file_faults(folder, needed) %}{{ return([]) }}{% endmacro %}

{% macro duckdb__file_faults(folder, needed) %}
    {%- set faults = [] -%}
    {%- for found in files_in(folder, needed) -%}
        {%- if found.fault -%}
            {%- do faults.append({'file': found.file, 'line': none, 'lines': none, 'error': found.fault}) -%}
        {%- elif found.kind == 'read_csv' -%}
            {%- do run_query('drop table if exists temp.unreadable_lines') -%}
            {%- do run_query('drop table if exists temp.unreadable_files') -%}
            {%- do run_query('select count(columns(*)) from ' ~ file_reader('read_csv', text_literal(found.file),
                "store_rejects = true, rejects_table = 'unreadable_lines', rejects_scan = 'unreadable_files', rejects_limit = 10000")) -%}
            {%- set (line, lines, error) = run_query(
                'select min(line), count(distinct line), arg_min(error_message, line) from temp.unreadable_lines').rows[0] -%}
            {%- if lines -%}
                {%- do faults.append({'file': found.file, 'line': line | int, 'lines': lines | int, 'error': error.split('\n')[0]}) -%}
            {%- endif -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(faults) }}
{% endmacro %}


{#- The files of a folder: a list of {file, kind (the function that reads it), fault (why it cannot be read at all)}. Asked once
    per model, and kept with it. -#}
{% macro files_in(folder, needed) %}
    {%- set key = 'files in ' ~ folder -%}
    {%- if key in model -%}{{ return(model[key]) }}{%- endif -%}
    {%- set found = [] -%}
    {%- for ending, kind in [('csv', 'read_csv'), ('csv.gz', 'read_csv'), ('parquet', 'read_parquet')] -%}
        {%- for row in run_query('select file from glob(' ~ text_literal(folder.rstrip('/') ~ '/**/*.' ~ ending) ~ ') order by file').rows -%}
            {%- set reader = file_reader(kind, text_literal(row[0]), none) -%}
            {%- set plan = plan_of('select * from ' ~ reader) -%}
            {#- A plan that cannot be written down is no fault of the file. -#}
            {%- set is_read = not plan.get('error') or plan.error_type == 'not implemented'
                or 'does not support serialization' in plan.error_message -%}
            {%- set fault = plan.error_message.split('\n')[0] if not is_read else none -%}
            {%- if is_read -%}
                {%- set columns = run_query('select column_name from (describe select * from ' ~ reader ~ ')').columns[0].values() | map('lower') | list -%}
                {%- set missing = needed | reject('in', columns) | list -%}
                {%- set fault = 'it has no column ' ~ missing[0] ~ ', but ' ~ columns | join(', ') if missing else none -%}
                {%- do found.append({'file': row[0], 'kind': kind, 'fault': fault}) -%}
            {%- else -%}{%- do found.append({'file': row[0], 'kind': kind, 'fault': fault}) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- do model.update({key: found}) -%}
    {{ return(found) }}
{% endmacro %}


{#- A call of the table function that reads a file or several. A CSV file is UTF-8, with commas between cells: whatever else
    it is shall be an error, and never be guessed. -#}
{% macro file_reader(kind, files, option) -%}
    {%- set options = [files] -%}
    {%- if kind == 'read_csv' -%}
        {%- do options.append("header = true, all_varchar = true, delim = ',', quote = '\"', escape = '\"', strict_mode = true") -%}
        {%- if 'store_rejects' not in (option or '') -%}{%- do options.append('ignore_errors = true') -%}{%- endif -%}
    {%- endif -%}
    {%- if option -%}{%- do options.append(option) -%}{%- endif -%}
    {{ return(kind ~ '(' ~ options | join(', ') ~ ')') }}
{%- endmacro %}


{#- The text of a file; none where there is no such file. -#}
{% macro file_text(path) %}{{ return(adapter.dispatch('file_text', 'flagsmith_warehouse')(path)) }}{% endmacro %}

{% macro default__file_text(path) %}{{ refuse_engine('file_text', 'files_relation') }}{% endmacro %}

{% macro duckdb__file_text(path) %}
    {%- set rows = run_query('select content from read_text(' ~ text_literal(path) ~ ')').columns[0].values()
        if value_of('select count(*) from glob(' ~ text_literal(path) ~ ')') else [] -%}
    {{ return(rows[0] if rows else none) }}
{% endmacro %}


{#- A path as it is meant: a relative one starts at the project. -#}
{% macro project_path(path) %}
    {{ return(path if path.startswith('/') else (invocation_args_dict.get('project_dir') or '.') ~ '/' ~ path) }}
{% endmacro %}
