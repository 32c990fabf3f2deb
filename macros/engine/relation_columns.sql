{#- Whether what a var says is the name of a relation, with its schema and database or without; else it is a query. -#}
{% macro is_relation_name(relation) %}
    {%- set part = '("[^"]+"|`[^`]+`|\\w+)' -%}
    {{ return(true if modules.re.fullmatch(part ~ '(\\.' ~ part ~ '){0,2}', relation | trim) else false) }}
{% endmacro %}


{#- The columns of a relation that a var names, {lower-case name: type as the engine writes it}; none where there is no
    relation of that name. What is not a name but a query or a table function is described by the engine. -#}
{% macro relation_columns(relation) %}{{ return(adapter.dispatch('relation_columns', 'flagsmith_warehouse')(relation)) }}{% endmacro %}

{% macro default__relation_columns(relation) %}{{ refuse_engine('relation_columns', 'relation_columns') }}{% endmacro %}

{% macro duckdb__relation_columns(relation) %}
    {%- if is_relation_name(relation) -%}
        {%- set parts = [] -%}
        {%- for name in modules.re.findall('"[^"]+"|\\w+', relation) -%}
            {%- do parts.append("lower(" ~ text_literal(name.strip('"')) ~ ")") -%}
        {%- endfor -%}
        {%- set place = 'lower(table_catalog) = lower(current_database()) and lower(table_schema) = ' -%}
        {%- if parts | length == 3 -%}
            {%- set place = 'lower(table_catalog) = ' ~ parts[0] ~ ' and lower(table_schema) = ' ~ parts[1] -%}
        {%- elif parts | length == 2 -%}
            {%- set place = '((' ~ place ~ parts[0] ~ ') or (lower(table_catalog) = ' ~ parts[0] ~ " and table_schema = 'main'))" -%}
        {%- else -%}
            {%- set place = place ~ 'lower(current_schema())' -%}
        {%- endif -%}
        {%- set query = 'select column_name, data_type from information_schema.columns where lower(table_name) = ' ~ parts[-1]
            ~ ' and ' ~ place ~ ' order by ordinal_position' -%}
    {%- elif relation_fault(relation) -%}{{ return(none) }}
    {%- else -%}
        {%- set query = 'select column_name, column_type from (describe select * from ' ~ relation ~ ')' -%}
    {%- endif -%}
    {%- set columns = {} -%}
    {%- for row in run_query(query) -%}{%- do columns.update({row[0] | lower: row[1] | upper}) -%}{%- endfor -%}
    {{ return(columns or none) }}
{% endmacro %}

{% macro spark__relation_columns(relation) %}
    {%- if is_relation_name(relation) -%}
        {%- set parts = (target.schema ~ '.' ~ relation | trim | replace('`', '')).split('.')[-2:] -%}
        {%- if not adapter.get_relation(database=none, schema=parts[0], identifier=parts[1]) -%}{{ return(none) }}{%- endif -%}
    {%- endif -%}
    {%- set columns = {} -%}
    {%- for row in run_query('describe query select * from ' ~ relation) -%}
        {%- do columns.update({row[0] | lower: row[1] | upper}) -%}
    {%- endfor -%}
    {{ return(columns or none) }}
{% endmacro %}


{#- Why a relation that a var names cannot be read, in the engine's words; none where it can. A view may stand while what it
    reads is gone, or contain a cast that fails for one of its rows. Querying such a view directly would end the run. -#}
{% macro relation_fault(relation) %}{{ return(adapter.dispatch('relation_fault', 'flagsmith_warehouse')(relation)) }}{% endmacro %}

{% macro default__relation_fault(relation) %}{{ return(none) }}{% endmacro %}

{% macro duckdb__relation_fault(relation) %}
    {%- if not execute -%}{{ return(none) }}{%- endif -%}
    {%- set query = 'select * from ' ~ relation -%}
    {%- set plan = plan_of(query) -%}
    {#- A plan that cannot be written down is no fault of the relation. -#}
    {%- if plan.get('error') and plan.error_type in ['binder', 'catalog', 'io', 'parser', 'permission'] -%}
        {{ return(plan.error_message) }}
    {%- endif -%}
    {#- A table is stored, so reading it cannot fail. For a view or a query, every column is computed here, which takes as long as reading it
        all. The function is our plugin's (loader/operations/attach.py): another profile may not have it. DuckDB takes a while to
        list its functions, so it is asked only about what is not a table. -#}
    {%- if flags.WHICH in ['compile', 'generate', 'list'] -%}{{ return(none) }}{%- endif -%}
    {%- set name = relation | replace('"', '') | lower -%}
    {%- set is_table = 'select count(*) > 0 from duckdb_tables() where ' ~ text_literal(name)
        ~ " in (lower(table_name), lower(schema_name || '.' || table_name), lower(database_name || '.' || schema_name || '.' || table_name))" -%}
    {%- if value_of(is_table) or not value_of("select count(*) > 0 from duckdb_functions() where function_name = 'fault_of'") -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set computed = 'select max(hash(given)) from (' ~ query ~ ') as given' -%}
    {{ return(value_of('select fault_of(' ~ text_literal(computed) ~ ')')) }}
{% endmacro %}


{#- DuckDB's plan for a query, which is not run; or, with `error`, `error_type` and `error_message`, why there is none. -#}
{% macro plan_of(query) %}
    {{ return(fromjson(value_of('select json_serialize_plan(' ~ text_literal(query) ~ ')'))) }}
{% endmacro %}


{#- What a type of the engine's holds: text, integer, decimal, float, timestamp, timestamp with time zone, date; none for
    any other. -#}
{% macro type_family(type) %}{{ return(adapter.dispatch('type_family', 'flagsmith_warehouse')(type)) }}{% endmacro %}

{% macro default__type_family(type) %}{{ refuse_engine('type_family', 'relation_columns') }}{% endmacro %}

{% macro duckdb__type_family(type) %}
    {%- if modules.re.fullmatch('VARCHAR|ENUM\\(.*\\)|"NULL"|NULL', type) -%}{{ return('text') }}
    {%- elif modules.re.fullmatch('U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER', type) -%}{{ return('integer') }}
    {%- elif modules.re.fullmatch('DECIMAL\\(.*\\)', type) -%}{{ return('decimal') }}
    {%- elif type in ['FLOAT', 'DOUBLE'] -%}{{ return('float') }}
    {%- elif modules.re.fullmatch('TIMESTAMP(_S|_MS|_NS)?', type) -%}{{ return('timestamp') }}
    {%- elif type == 'TIMESTAMP WITH TIME ZONE' -%}{{ return('timestamp with time zone') }}
    {%- elif type == 'DATE' -%}{{ return('date') }}
    {%- endif -%}
    {{ return(none) }}
{% endmacro %}

{% macro spark__type_family(type) %}
    {%- if modules.re.fullmatch('STRING.*|VARCHAR.*|CHAR.*|VOID', type) -%}{{ return('text') }}
    {%- elif type in ['TINYINT', 'SMALLINT', 'INT', 'BIGINT'] -%}{{ return('integer') }}
    {%- elif modules.re.fullmatch('DECIMAL\\(.*\\)', type) -%}{{ return('decimal') }}
    {%- elif type in ['FLOAT', 'DOUBLE'] -%}{{ return('float') }}
    {%- elif type == 'TIMESTAMP_NTZ' -%}{{ return('timestamp') }}
    {%- elif type == 'TIMESTAMP' -%}{{ return('timestamp with time zone') }}
    {%- elif type == 'DATE' -%}{{ return('date') }}
    {%- endif -%}
    {{ return(none) }}
{% endmacro %}


{#- A value of such a type as a timestamp in UTC, whatever the session's time zone; null where it is none. -#}
{% macro utc_of(value, family) %}{{ return(adapter.dispatch('utc_of', 'flagsmith_warehouse')(value, family)) }}{% endmacro %}

{% macro default__utc_of(value, family) %}{{ refuse_engine('utc_of', 'relation_columns') }}{% endmacro %}

{% macro duckdb__utc_of(value, family) -%}
    {%- if family == 'timestamp with time zone' -%} timezone('UTC', {{ value }})
    {%- else -%} try_cast({{ value }} as timestamp)
    {%- endif -%}
{%- endmacro %}

{% macro spark__utc_of(value, family) -%} try_cast({{ value }} as timestamp) {%- endmacro %}


{#- True where a timestamp is a moment, and not before or after all time. -#}
{% macro is_finite_time(timestamp) %}{{ return(adapter.dispatch('is_finite_time', 'flagsmith_warehouse')(timestamp)) }}{% endmacro %}

{% macro default__is_finite_time(timestamp) %}{{ refuse_engine('is_finite_time', 'relation_columns') }}{% endmacro %}

{% macro duckdb__is_finite_time(timestamp) -%} isfinite({{ timestamp }}) {%- endmacro %}

{% macro spark__is_finite_time(timestamp) -%} {{ timestamp }} is not null {%- endmacro %}
