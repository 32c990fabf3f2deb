{#- The relation that holds people's declarations. If a var of that name is set, it names the relation. Otherwise it is the
    seed of that name, in the project that `var('declared_by')` names. Only the models in intermediate/declarations read it;
    they pass on typed and valid rows. -#}
{% macro declared(name) %}
    {%- set missing = flagsmith_warehouse.is_missing_file(name) -%}
    {%- set seed = ref(var('declared_by', 'flagsmith_warehouse'), name) if not var(name, none) and not missing else none -%}
    {{ return(var(name, none) or flagsmith_warehouse.clean_file(name) or seed
        or '(select cast(null as string) as unreadable_file from (select 1 as nothing) as nowhere where 1 = 0) as missing_file') }}
{% endmacro %}

{#- True for a seed whose file was removed. dbt cannot parse a project whose models refer to such a seed. `check` and
    `refresh` see that the file is missing and name it in `vars: missing_files`, {name: file}. -#}
{% macro is_missing_file(name) %}
    {{ return(name in (var('missing_files', none) or {})) }}
{% endmacro %}

{#- While `flagsmith-warehouse check` runs: its copy of a declarations file, as the file is now and not as the last build
    read it. None otherwise. -#}
{% macro clean_file(name) %}
    {%- set folder = var('declarations_folder', none) -%}
    {{ return(csv_of_texts(folder ~ '/' ~ name ~ '.csv') if folder else none) }}
{% endmacro %}

{#- True while `flagsmith-warehouse check` runs. -#}
{% macro is_checked_now() %}
    {{ return(execute and var('declarations_folder', none) is not none) }}
{% endmacro %}

{#- The materialisation of the models of declarations: tables, or ephemeral while `check` runs, which writes nothing. -#}
{% macro kept_unless_checked() %}
    {{ return('ephemeral' if var('declarations_folder', none) else 'table_in_place') }}
{% endmacro %}

{#- Where people wrote the declarations of that name: the seed's file, or the relation that the var names. -#}
{% macro declared_in(name) %}
    {%- set seed = graph.nodes.get('seed.' ~ var('declared_by', 'flagsmith_warehouse') ~ '.' ~ name) if execute -%}
    {%- set missing = var('missing_files', none) or {} -%}
    {{ return(var(name, none) or (seed.original_file_path if seed else missing.get(name, 'seeds/' ~ name ~ '.csv'))) }}
{% endmacro %}

{#- The columns of that relation, {our name: its name there}. Case, blanks around a name and a byte order mark do not count.
    Returns none if the relation does not exist. Returns all the columns that we know while nothing is built (`dbt compile`
    on a fresh clone), and for a seed that this run creates. -#}
{% macro declared_columns(name) %}
    {%- set known = {} -%}
    {%- for column in flagsmith_warehouse.declarations()[name].columns -%}{%- do known.update({column: column}) -%}{%- endfor -%}
    {%- set relation = flagsmith_warehouse.declared(name) -%}
    {%- if not execute -%}{{ return(known) }}{%- endif -%}
    {%- if relation is string -%}
        {%- if modules.re.fullmatch('\\w+(\\.\\w+){0,2}', relation) -%}
            {%- set parts = (['', ''] + relation.split('.'))[-3:] -%}
            {%- set found = adapter.get_relation(
                database=parts[0] or target.get('database'), schema=parts[1] or target.schema, identifier=parts[2]) -%}
            {%- if not found -%}{{ return(none) }}{%- endif -%}
        {%- endif -%}
        {%- if flagsmith_warehouse.relation_fault(relation) -%}{{ return(none) }}{%- endif -%}
    {%- elif not adapter.get_relation(database=relation.database, schema=relation.schema, identifier=relation.identifier) -%}
        {{ return(known) }}
    {%- endif -%}
    {%- set found = {} -%}
    {%- for column in run_query('select * from ' ~ relation ~ ' limit 0').column_names -%}
        {%- do found.setdefault(modules.re.sub('^[\\s\\ufeff]+|[\\s\\ufeff]+$', '', column) | lower, column) -%}
    {%- endfor -%}
    {{ return(found) }}
{% endmacro %}

{#- Select: row_number and every column that we know, as texts. Empty cells and missing columns are null. Rows of a file are
    counted as in a spreadsheet, where the header is row 1. Rows of a relation are counted in the order in which the engine
    reads them. -#}
{% macro declared_rows(name) %}
    {%- set found = flagsmith_warehouse.declared_columns(name) -%}
    {%- set first_row = 1 if var(name, none) else 2 %}
    select
        {{ row_in_order() }} + {{ first_row - 1 }} as row_number
        {%- for column, rule in flagsmith_warehouse.declarations()[name].columns.items() %},
        {{ cell_text(adapter.quote(found[column]), rule.type == 'identity') if found and column in found else 'cast(null as string)' }} as {{ column }}
        {%- endfor %}
    from {{ flagsmith_warehouse.declared(name) if found is not none else '(select 1 as nothing) as nowhere where 1 = 0' }}
{% endmacro %}
