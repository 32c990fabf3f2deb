{#- Where the progress of models is kept (macros/incremental/progress.sql), and the write that it is part of: a build that is
    killed leaves the rows and the progress of a model as they were, or has written both.
      duckdb  a row in `build_progress`, in the transaction that writes the rows
      spark   a property of the Iceberg snapshot that holds the rows. A rewrite of data files makes a snapshot without it: the newest
              of those counts that lead to the current one. A table that was rolled back or replaced has what it had then -#}

{#- Creates what progress is kept in, if it is missing. -#}
{% macro create_build_progress() %}{{ return(adapter.dispatch('create_build_progress', 'flagsmith_warehouse')()) }}{% endmacro %}

{% macro default__create_build_progress() %}{{ refuse_engine('create_build_progress', 'progress') }}{% endmacro %}

{#- Deletes all but the latest row of each model. -#}
{% macro duckdb__create_build_progress() %}
    create schema if not exists {{ build_progress().without_identifier() }};
    create table if not exists {{ build_progress() }} (
        model string, build_number bigint, fingerprint string, recording bigint
    );
    {% for column, type in [
        ('numbering', 'bigint'), ('kept_before', 'timestamp'), ('logic_version', 'bigint'), ('descriptions', 'string')
    ] -%}
    {{ add_column_if_missing(build_progress(), column, type) }};
    {% endfor -%}
    delete from {{ build_progress() }}
    where (model, recording) not in (select model, max(recording) from {{ build_progress() }} group by model)
{% endmacro %}

{% macro spark__create_build_progress() %}{{ return('') }}{% endmacro %}


{#- The latest progress of the models of these names that have any: {name: {build_number, fingerprint, numbering, kept_before,
    descriptions}}. -#}
{% macro latest_progress(names) %}{{ return(adapter.dispatch('latest_progress', 'flagsmith_warehouse')(names)) }}{% endmacro %}

{% macro default__latest_progress(names) %}{{ refuse_engine('latest_progress', 'progress') }}{% endmacro %}

{% macro duckdb__latest_progress(names) %}
    {%- set rows = run_query(
        "select model, build_number, fingerprint, coalesce(numbering, 0), cast(kept_before as string), descriptions from " ~ build_progress()
        ~ " where model in ('" ~ names | join("', '") ~ "') order by recording"
    ) -%}
    {%- set latest = {} -%}
    {%- for row in rows -%}
        {%- do latest.update({row[0]: {
            'build_number': row[1] | int, 'fingerprint': row[2], 'numbering': row[3] | int, 'kept_before': row[4],
            'descriptions': row[5],
        }}) -%}
    {%- endfor -%}
    {{ return(latest) }}
{% endmacro %}

{#- Asked once per run of each model, and kept with its node. -#}
{% macro spark__latest_progress(names) %}
    {%- set latest = {} -%}
    {%- for name in names -%}
        {%- set node = graph.nodes['model.flagsmith_warehouse.' ~ name] -%}
        {%- if 'recorded_progress' not in node -%}
            {%- do node.update({'recorded_progress': spark_recorded_progress(name)}) -%}
        {%- endif -%}
        {%- if node.recorded_progress -%}{%- do latest.update({name: node.recorded_progress}) -%}{%- endif -%}
    {%- endfor -%}
    {{ return(latest) }}
{% endmacro %}

{% macro spark_recorded_progress(name) %}
    {%- set relation = flagsmith_warehouse.built_model(name) -%}
    {%- if not relation or not relation.is_table -%}{{ return(none) }}{%- endif -%}
    {%- set recorded = spark_progress_text(name, relation) -%}
    {%- if not recorded -%}{{ return(none) }}{%- endif -%}
    {%- set progress = fromjson(recorded) -%}
    {%- if progress.logic_version > flagsmith_warehouse.logic_version() -%}
        {%- do flagsmith_warehouse.refuse_logic_version(relation, progress.logic_version) -%}
    {%- endif -%}
    {%- if progress.build_number is none -%}
        {%- do progress.update({'build_number': value_of('select coalesce(max(_build_number), 0) from ' ~ relation) | int}) -%}
    {%- endif -%}
    {{ return(progress) }}
{% endmacro %}

{#- The property as it is written; none if no snapshot has it. -#}
{% macro spark_progress_text(name, relation) %}
    {%- set property = "summary['" ~ spark_progress_property(name) ~ "']" -%}
    {{ return(value_of(
        'select max_by(' ~ property ~ ', committed_at) from ' ~ relation ~ '.snapshots where ' ~ property ~ ' is not null'
        ~ ' and snapshot_id in (select snapshot_id from ' ~ relation ~ '.history where is_current_ancestor)')) }}
{% endmacro %}

{#- The progress of all models that are built, by name. -#}
{% macro spark_progress_of_all() %}
    {%- set names = [] -%}
    {%- for node in flagsmith_warehouse.our_models() if flagsmith_warehouse.is_an_increment(node) -%}
        {%- do names.append(node.name) -%}
    {%- endfor -%}
    {{ return(flagsmith_warehouse.latest_progress(names)) }}
{% endmacro %}

{#- Each model has its own: several threads of a run share the session's settings. -#}
{% macro spark_progress_property(name) %}{{ return('flagsmith-warehouse.progress.' ~ name) }}{% endmacro %}


{#- The highest version of logic that any model was built with. -#}
{% macro built_with_logic_version() %}{{ return(adapter.dispatch('built_with_logic_version', 'flagsmith_warehouse')()) }}{% endmacro %}

{% macro default__built_with_logic_version() %}{{ refuse_engine('built_with_logic_version', 'progress') }}{% endmacro %}

{% macro duckdb__built_with_logic_version() %}
    {{ return(scalar('select coalesce(max(logic_version), 0) from ' ~ build_progress(), 0) | int) }}
{% endmacro %}

{#- Looked at where the progress of each model is read. -#}
{% macro spark__built_with_logic_version() %}{{ return(0) }}{% endmacro %}


{#- Query: a number (`number`) at least as high as every build number that was ever recorded. `is_numbered`: whether there are
    relations that have the numbers themselves. -#}
{% macro recorded_build_number(is_numbered) %}{{ return(adapter.dispatch('recorded_build_number', 'flagsmith_warehouse')(is_numbered)) }}{% endmacro %}

{% macro default__recorded_build_number(is_numbered) %}{{ refuse_engine('recorded_build_number', 'progress') }}{% endmacro %}

{% macro duckdb__recorded_build_number(is_numbered) %}{{ return('select max(build_number) as number from ' ~ build_progress()) }}{% endmacro %}

{#- Where all tables with numbers are gone, so is every record of them. The seconds from 1970 to the start of the run are higher than
    any number counted up from those of an earlier day, and the same throughout the run. Models know numbers whose
    deliveries retention, or `erase`, has deleted. -#}
{% macro spark__recorded_build_number(is_numbered) %}
    {%- set numbers = [0 if is_numbered else run_started_at.timestamp() | int] -%}
    {%- for progress in (spark_progress_of_all() if is_built_now() else {}).values() -%}{%- do numbers.append(progress.build_number | int) -%}{%- endfor -%}
    {{ return('select cast(' ~ numbers | max ~ ' as bigint) as number') }}
{% endmacro %}


{#- The lowest number up to which a model that was ever built has read deliveries; none if no model was. -#}
{% macro everything_built_up_to() %}{{ return(adapter.dispatch('everything_built_up_to', 'flagsmith_warehouse')()) }}{% endmacro %}

{% macro default__everything_built_up_to() %}{{ refuse_engine('everything_built_up_to', 'progress') }}{% endmacro %}

{% macro duckdb__everything_built_up_to() %}
    {{ return(value_of('select min(build_number) from (select max_by(build_number, recording) as build_number from '
        ~ build_progress() ~ ' group by model) as latest')) }}
{% endmacro %}

{% macro spark__everything_built_up_to() %}
    {{ return(spark_progress_of_all().values() | map(attribute='build_number') | map('int') | min | default(none)) }}
{% endmacro %}


{#- Writes the rows of the model in hand, which is an increment, and records its progress: both, or neither. -#}
{% macro write_increment(existing_relation, target_relation) %}{{ return(adapter.dispatch('write_increment', 'flagsmith_warehouse')(existing_relation, target_relation)) }}{% endmacro %}

{% macro default__write_increment(existing_relation, target_relation) %}{{ refuse_engine('write_increment', 'progress') }}{% endmacro %}

{#- The materialisation commits what these statements do. -#}
{% macro duckdb__write_increment(existing_relation, target_relation) %}
    {%- if flagsmith_warehouse.is_increment() -%}
        {%- do flagsmith_warehouse.replace_changed(target_relation) -%}
    {%- else -%}
        {%- do flagsmith_warehouse.build_in_place(existing_relation, target_relation) -%}
    {%- endif -%}
    {%- call statement('progress') -%}{{ flagsmith_warehouse.record_progress() }}{%- endcall -%}
{% endmacro %}

{#- One commit of the table. The property is set before it. -#}
{% macro spark__write_increment(existing_relation, target_relation) %}
    {%- set setting = '`spark.sql.iceberg.snapshot-property.' ~ spark_progress_property(model.name) ~ '`' -%}
    {%- set is_numbering = not flagsmith_warehouse.increments_read() -%}
    {#- Before the property is set: what it says is true only after the last commit. -#}
    {%- if flagsmith_warehouse.is_increment() -%}{%- do run_each(flagsmith_warehouse.preparations()) -%}{%- endif -%}
    {%- set progress = {
        'build_number': none if is_numbering else progress().sources_built_up_to,
        'fingerprint': progress().fingerprint,
        'numbering': progress().numbering,
        'kept_before': flagsmith_warehouse.kept_before(),
        'descriptions': flagsmith_warehouse.descriptions(),
        'logic_version': flagsmith_warehouse.logic_version(),
    } -%}
    {#- A table that `--empty` has made has read nothing. -#}
    {%- if not is_empty_run() -%}{%- do run_query('set ' ~ setting ~ '=`' ~ tojson(progress) ~ '`') -%}{%- endif -%}
    {%- if not flagsmith_warehouse.is_increment() -%}
        {%- do flagsmith_warehouse.build_in_place(existing_relation, target_relation) -%}
    {%- else -%}
        {%- do spark_replace_changed(target_relation) -%}
    {%- endif -%}
    {%- if not is_empty_run() -%}{%- do run_query('reset ' ~ setting) -%}{%- endif -%}
    {%- do graph.nodes[model.unique_id].pop('recorded_progress', none) -%}
    {%- if not is_numbering and not is_empty_run() -%}
        {%- do graph.nodes[model.unique_id].update({'recorded_progress': progress}) -%}
    {%- endif -%}
{% endmacro %}

{#- As `replace_changed`, in one MERGE: a row of the source says what goes, or is a new row. -#}
{% macro spark_replace_changed(target_relation) %}
    {%- set limit = ' limit 0' if is_empty_run() else '' -%}
    {%- set replaced = flagsmith_warehouse.is_replaced() -%}
    {%- if replaced -%}
        {%- call statement('changed_keys') -%}
            {{ flagsmith_warehouse.create_temporary_table(flagsmith_warehouse.changed_keys_table(),
                'select * from (' ~ flagsmith_warehouse.changed_keys() ~ ') as changed_keys' ~ limit) }}
        {%- endcall -%}
    {%- endif -%}
    {#- As in `replace_changed`: the columns may change with the logic. -#}
    {%- if not flagsmith_warehouse.progress().is_same and not is_empty_run() -%}
        {%- for name, type in flagsmith_warehouse.relation_columns('(' ~ sql ~ ')').items() -%}
            {%- do run_each([flagsmith_warehouse.add_column_if_missing(target_relation, name, type)]) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- set columns = adapter.get_columns_in_relation(target_relation) -%}
    {%- set names = columns | map(attribute='name') | list -%}
    {%- if not replaced -%}
        {%- call statement('main') -%}
            insert into {{ target_relation }} ({{ names | join(', ') }})
            select {{ names | join(', ') }} from ({{ sql }}) as new_rows{{ limit }}
        {%- endcall -%}
        {{ return('') }}
    {%- endif -%}
    {%- set unit = flagsmith_warehouse.replaced_unit() -%}
    {%- set keys = unit.columns + (['rebuilt_from'] if unit.is_in_part else []) -%}
    {%- call statement('main') -%}
        merge into {{ target_relation }} as target
        using (
            select
                true as _goes,
                {{ keys | join(', ') }}
                {%- for column in columns %},
                cast(null as {{ column.dtype }}) as new_{{ column.name }}
                {%- endfor %}
            from {{ flagsmith_warehouse.changed_keys_table() }}

            union all

            select
                false as _goes,
                {%- for key in keys %}
                null as {{ key }},
                {%- endfor %}
                {%- for name in names %}
                {{ name }} as new_{{ name }}{{ ',' if not loop.last }}
                {%- endfor %}
            from ({{ sql }}) as new_rows{{ limit }}
        ) as changed
        on changed._goes and {{ replaced }}
        when matched then delete
        when not matched and not changed._goes
            then insert ({{ names | join(', ') }}) values (new_{{ names | join(', new_') }})
    {%- endcall -%}
{% endmacro %}
