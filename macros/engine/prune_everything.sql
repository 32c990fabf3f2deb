{#- Runs, or returns for a hook to run, what deletes everything from before new cutoffs (`cutoffs`: a query for environment, pruned_before).
      duckdb  one transaction
      spark   one commit for each table. The first one records the cutoffs in `pruned`, and that they are not finished; from then on
              neither the landing nor a model takes in anything from before them. The last one records that they are. A run that finds
              them unfinished finishes them before it builds anything. -#}
{% macro prune_everything(landing, cutoffs) %}{{ return(adapter.dispatch('prune_everything', 'flagsmith_warehouse')(landing, cutoffs)) }}{% endmacro %}

{% macro default__prune_everything(landing, cutoffs) %}{{ refuse_engine('prune_everything', 'prune_everything') }}{% endmacro %}

{% macro duckdb__prune_everything(landing, cutoffs) %}
    {%- set history = list_of(flagsmith_warehouse.models_that_hold_history()) %}
    begin transaction;

    {{ create_temporary_table('cutoffs', cutoffs) }};
    delete from {{ pruned() }} where environment in (select environment from cutoffs);
    insert into {{ pruned() }} select environment, pruned_before, {{ history }} from cutoffs;
    {% for step in flagsmith_warehouse.prune_statements(landing) -%}
    {{ step.statement }};
    {% endfor -%}
    commit
{% endmacro %}

{% macro spark__prune_everything(landing, cutoffs) %}
    {%- set held_in = list_of(flagsmith_warehouse.models_that_hold_history()) -%}
    {%- do run_query(
        'merge into ' ~ pruned() ~ ' as pruned using (' ~ cutoffs ~ ') as cutoffs on pruned.environment = cutoffs.environment'
        ~ ' when matched then update set pruned_before = cutoffs.pruned_before, held_in = ' ~ held_in ~ ', is_finished = false'
        ~ ' when not matched then insert (environment, pruned_before, held_in, is_finished)'
        ~ ' values (cutoffs.environment, cutoffs.pruned_before, ' ~ held_in ~ ', false)'
    ) -%}
    {%- do spark_finish_pruning(landing, is_resumed=false) -%}
    {{ return('') }}
{% endmacro %}

{#- Each statement carries the progress of its model on: the snapshots that had it expire here. -#}
{% macro spark_finish_pruning(landing, is_resumed) %}
    {%- for step in flagsmith_warehouse.prune_statements(landing) -%}
        {%- do flagsmith_warehouse.renew_build_lock() -%}
        {%- do spark_with_progress(step.model, step.relation, step.statement) -%}
    {%- endfor -%}
    {%- do spark_forget_history(landing, is_resumed) -%}
    {%- do run_query('update ' ~ pruned() ~ ' set is_finished = true where not is_finished') -%}
{% endmacro %}

{#- Expires all snapshots but the current one of the landing and of our tables, with the files that only they have, and removes what a
    killed write has left: that of the last three days stays, because Iceberg takes it for a write that is going on. -#}
{% macro spark_forget_history(landing, is_resumed) %}
    {%- set tables = [(none, landing)] -%}
    {%- for node in flagsmith_warehouse.our_models() -%}
        {%- set relation = flagsmith_warehouse.built_model(node.name) -%}
        {%- if relation and relation.is_table -%}{%- do tables.append((node.name, relation)) -%}{%- endif -%}
    {%- endfor -%}
    {%- set call = 'call ' ~ value_of('select current_catalog()') ~ '.system.' -%}
    {%- for name, relation in tables -%}
        {%- do flagsmith_warehouse.renew_build_lock() -%}
        {%- set table = "(table => '" ~ relation.schema ~ '.' ~ relation.identifier ~ "'" -%}
        {%- set is_current = 'snapshot_id in (select snapshot_id from ' ~ relation ~ ".refs where name = 'main')" -%}
        {%- set has_progress = 'map_contains_key(summary, ' ~ text_literal(spark_progress_property(name or '')) ~ ')' -%}
        {%- set (snapshots, with_progress, later) = run_query(
            'select count(*), count(case when ' ~ is_current ~ ' and ' ~ has_progress ~ ' then 1 end), '
            ~ 'cast(current_timestamp() + interval 1 second as string) from ' ~ relation ~ '.snapshots').rows[0] -%}
        {%- if snapshots | int > 1 -%}
            {#- A rewrite of files makes a snapshot without the progress. -#}
            {%- if name and not with_progress | int -%}
                {%- do spark_with_progress(name, relation, 'insert into ' ~ relation ~ ' select * from ' ~ relation ~ ' limit 0') -%}
            {%- endif -%}
            {%- do run_query(call ~ 'expire_snapshots' ~ table ~ ", older_than => timestamp '" ~ later ~ "', retain_last => 1)") -%}
            {%- do run_query(call ~ 'remove_orphan_files' ~ table ~ ')') -%}
        {%- endif -%}
        {%- if is_resumed -%}{%- do spark_remove_left_files(relation, call ~ 'remove_orphan_files' ~ table) -%}{%- endif -%}
    {%- endfor -%}
{% endmacro %}

{#- Removes the files that no snapshot has and that are older than the pruning which was killed. Iceberg forgets snapshots before it removes their
    files, so a run that is killed in between leaves files with what was deleted. Those of the last three days stay by default, because
    somebody may be writing them. Nobody writes what is older than the pruning, so this lists these files, and says that they are old. -#}
{% macro spark_remove_left_files(relation, call) %}
    {%- for row in run_query('describe table extended ' ~ relation).rows if row[0] == 'Location' -%}
        {%- do run_query('create or replace temporary view files_of_table using binaryFile options (path '
            ~ text_literal(row[1]) ~ ", recursiveFileLookup 'true')") -%}
    {%- endfor -%}
    {%- do run_query(
        "create or replace temporary view left_files as select path as file_path, timestamp '2000-01-01' as last_modified from files_of_table"
        ~ ' where modificationTime < (select max(committed_at) from ' ~ pruned() ~ '.snapshots)') -%}
    {%- do run_query(call ~ ", file_list_view => 'left_files')") -%}
{% endmacro %}

{#- Runs a statement that writes to the table of a model (none: the landing), so that its commit has the progress that the table has. -#}
{% macro spark_with_progress(name, relation, statement) %}
    {%- set recorded = spark_progress_text(name, relation) if name else none -%}
    {%- set setting = '`spark.sql.iceberg.snapshot-property.' ~ spark_progress_property(name or '') ~ '`' -%}
    {%- if recorded -%}{%- do run_query('set ' ~ setting ~ '=`' ~ recorded ~ '`') -%}{%- endif -%}
    {%- do run_query(statement) -%}
    {%- if recorded -%}{%- do run_query('reset ' ~ setting) -%}{%- endif -%}
{% endmacro %}
