{#- One build at a time in one catalogue. Whoever comes second stops by name: two builds at once would each add the same rows.
    duckdb  opens the file for one process
    spark   the table `builds` beside the landing has a row: who builds, and until when. (Derby lets in one process by itself. Spark
            does not say whether a catalogue is a Derby, so the row is taken there, too.) It is taken by a MERGE, of which Iceberg
            commits one of two at once. The holder renews it between models. A build that was killed holds it until then; a refresh takes over what a killed
            refresh of the same machine and folder held, since it has the lock of both. It gives the row up itself, after it has
            published, or when it fails (loader/operations/spark.py). -#}
{% macro take_build_lock() %}{{ return(adapter.dispatch('take_build_lock', 'flagsmith_warehouse')()) }}{% endmacro %}

{% macro default__take_build_lock() %}{{ return('') }}{% endmacro %}

{% macro spark__take_build_lock() %}
    {%- if is_built_now() -%}{%- do hold_build_lock() -%}{%- endif -%}
    {{ return('') }}
{% endmacro %}

{#- Operations of `refresh` and `erase` on Spark: as a build, and at its end. -#}
{% macro hold_build_lock() %}
    {%- do run_query('create schema if not exists ' ~ spark_builds().without_identifier()) -%}
    {%- do run_query('create table if not exists ' ~ spark_builds() ~ ' (builder string, invocation string, held_until timestamp)') -%}
    {%- do spark_hold_build_lock('held.held_until < current_timestamp() or held.builder = mine.builder') -%}
{% endmacro %}

{% macro give_up_build_lock(builder=none) %}
    {%- do run_query('delete from ' ~ spark_builds() ~ ' where builder = ' ~ text_literal(builder or env_var('FLAGSMITH_BUILDER'))) -%}
{% endmacro %}


{#- Called before a model is written. Stops the build if another one has taken over, because this one stood still for too long. -#}
{% macro renew_build_lock() %}{{ return(adapter.dispatch('renew_build_lock', 'flagsmith_warehouse')()) }}{% endmacro %}

{% macro default__renew_build_lock() %}{{ return('') }}{% endmacro %}

{% macro spark__renew_build_lock() %}
    {%- if 'build_lock_renewed_at' in graph
        and (modules.datetime.datetime.now() - graph.build_lock_renewed_at).total_seconds() > 600 -%}
        {#- Before the MERGE, or another thread renews at the same time. -#}
        {%- do graph.update({'build_lock_renewed_at': modules.datetime.datetime.now()}) -%}
        {%- do spark_hold_build_lock('held.invocation = mine.invocation', takes_free=false) -%}
    {%- endif -%}
    {{ return('') }}
{% endmacro %}


{#- At the end of a run, unless it is part of something that goes on, and gives the lock up later. -#}
{% macro release_build_lock() %}{{ return(adapter.dispatch('release_build_lock', 'flagsmith_warehouse')()) }}{% endmacro %}

{% macro default__release_build_lock() %}{{ return('') }}{% endmacro %}

{% macro spark__release_build_lock() %}
    {%- if execute and 'build_lock_renewed_at' in graph and not env_var('FLAGSMITH_BUILD_GOES_ON', '') -%}
        {%- do run_query('delete from ' ~ spark_builds() ~ ' where invocation = ' ~ text_literal(invocation_id)) -%}
    {%- endif -%}
    {{ return('') }}
{% endmacro %}


{#- Takes the row if it is free, or if the condition holds; stops the run if another build has it afterwards. -#}
{% macro spark_hold_build_lock(condition, takes_free=true) %}
    {%- set builder = env_var('FLAGSMITH_BUILDER', '') or 'dbt run ' ~ invocation_id -%}
    {%- do run_query(
        'merge into ' ~ spark_builds() ~ ' as held using (select ' ~ text_literal(builder) ~ ' as builder, '
        ~ text_literal(invocation_id) ~ ' as invocation, current_timestamp() + interval 2 hours as held_until) as mine on true'
        ~ ' when matched and (' ~ condition ~ ') then update set builder = mine.builder, invocation = mine.invocation, '
        ~ 'held_until = mine.held_until' ~ (' when not matched then insert *' if takes_free else '')
    ) -%}
    {%- set rows = run_query('select builder, invocation, cast(held_until as string) from ' ~ spark_builds()).rows -%}
    {%- set row = rows[0] if rows | length else ['one that took over and has ended', none, 'once'] -%}
    {%- if row[1] != invocation_id -%}
        {{ exceptions.raise_compiler_error(
            'Another build is using this catalogue: ' ~ row[0] ~ '. Nothing more is built here. Try again when it has ended. If it was killed, '
            ~ 'its lock ends at ' ~ row[2] ~ ' UTC, or with: dbt run-operation flagsmith_warehouse.give_up_build_lock --target '
            ~ target.name ~ " --args '" ~ tojson({'builder': row[0]}) ~ "'"
        ) }}
    {%- endif -%}
    {%- do graph.update({'build_lock_renewed_at': modules.datetime.datetime.now()}) -%}
{% endmacro %}

{% macro spark_builds() %}
    {{ return(api.Relation.create(schema=var('landing_schema', 'landing'), identifier='builds')) }}
{% endmacro %}
