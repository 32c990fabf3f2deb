{#- Creates the table `pruned` (macros/retention/pruned.sql) if it is missing. On Spark it also says whether all rows from before the cutoff
    are deleted (`is_finished`); a run that was killed in between is finished here, before anything is built. -#}
{% macro create_pruned() %}{{ return(adapter.dispatch('create_pruned', 'flagsmith_warehouse')()) }}{% endmacro %}

{% macro default__create_pruned() %}{{ refuse_engine('create_pruned', 'create_pruned') }}{% endmacro %}

{% macro duckdb__create_pruned() %}
    {{ return(run_each([
        'create schema if not exists ' ~ pruned().without_identifier(),
        'create table if not exists ' ~ pruned() ~ ' (environment string not null, pruned_before timestamp not null, held_in '
            ~ list_type('string') ~ ' not null)',
    ])) }}
{% endmacro %}

{% macro spark__create_pruned() %}
    {%- if not is_built_now() -%}{{ return('') }}{%- endif -%}
    {%- do run_each([
        'create schema if not exists ' ~ pruned().without_identifier(),
        'create table if not exists ' ~ pruned() ~ ' (environment string, pruned_before timestamp, held_in '
            ~ list_type('string') ~ ', is_finished boolean)',
        add_column_if_missing(pruned(), 'is_finished', 'boolean'),
    ]) -%}
    {%- if not is_empty_run() and value_of('select count(*) from ' ~ pruned() ~ ' where not is_finished') | int -%}
        {%- do log('An earlier run was stopped while retention deleted. This one deletes the rest first.', info=true) -%}
        {%- do spark_finish_pruning(source('landing', 'webhooks'), is_resumed=true) -%}
        {%- do graph.update({'finished_pruning': true}) -%}
    {%- endif -%}
    {{ return('') }}
{% endmacro %}
