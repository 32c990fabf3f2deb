{#- The materialisation of every incremental model. A model is a plain select over these relations:
      {{ changed('int_deliveries') }}  the source's rows that the model must read now
      {{ new('int_deliveries') }}      the deliveries that are new to the model
      {{ known() }}                    the model's own rows that will be replaced, to build upon
    In a full build these are the whole source, all deliveries, and no rows. The select stays the same.

    A model declares in its `meta`:
      adds       its key. Rows with a new key are added, and no row is ever replaced.
      replaces   the unit that is replaced as a whole (macros/incremental/units.sql): `identity`, `spell`, `state`, `hour`, ….
      spell      for spells: the columns `begins` and `ends`, and `of`, the column of int_state_spells that they follow.
      prepares   the model's own statements that run before an increment.
      vars       vars that its rows depend on. When one changes, the model is built in full.
      retention  macros/retention/prune_statements.sql
    It need not declare its sources: they are the models that it refers to.

    Everything happens in one transaction, including the progress of the model (macros/incremental/progress.sql). If a build
    is killed, the next one does it all again. What engines do differently (the transaction, a temporary table, a delete by
    the rows of another relation) is in macros/engine. -#}
{% materialization increment, default -%}
    {%- set existing_relation = load_cached_relation(this) -%}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set is_increment = flagsmith_warehouse.is_increment() -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {%- do flagsmith_warehouse.renew_build_lock() -%}
    {%- do flagsmith_warehouse.write_increment(existing_relation, target_relation) -%}

    {%- do apply_grants(target_relation, config.get('grants'), should_revoke=should_revoke(existing_relation, not is_increment)) -%}
    {#- Writing descriptions costs more than a small increment, so it is done only if a description has changed. -#}
    {%- if not is_increment -%}
        {%- do flagsmith_warehouse.describe(target_relation) -%}
    {%- elif not flagsmith_warehouse.progress().is_described -%}
        {%- do flagsmith_warehouse.describe(target_relation, get_columns_in_relation(target_relation) | map(attribute='name') | list) -%}
    {%- endif -%}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- do adapter.commit() -%}

    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target_relation]}) }}
{%- endmaterialization %}

{#- Replaces the rows of the units that have changed by those that the select yields now. -#}
{% macro replace_changed(target_relation) %}
    {%- set new_rows = make_temp_relation(target_relation) -%}
    {%- set preparations = flagsmith_warehouse.preparations() -%}
    {%- if preparations -%}{%- call statement('preparations') -%}{{ preparations | join(';\n') }}{%- endcall -%}{%- endif -%}
    {%- set changed_keys = flagsmith_warehouse.changed_keys() -%}
    {%- if changed_keys -%}
        {%- call statement('changed_keys') -%}
            {{ flagsmith_warehouse.create_temporary_table(flagsmith_warehouse.changed_keys_table(),
                'select * from (' ~ changed_keys ~ ') as changed_keys' ~ (' limit 0' if flagsmith_warehouse.is_empty_run() else '')) }}
        {%- endcall -%}
    {%- endif -%}
    {%- call statement('new_rows') -%}{{ get_create_table_as_sql(True, new_rows, sql) }}{%- endcall -%}
    {#- The columns may change with the logic. A table that keeps pruned history is not made anew, so its columns change here. -#}
    {%- if not flagsmith_warehouse.progress().is_same -%}
        {%- do process_schema_changes(config.get('on_schema_change'), new_rows, target_relation) -%}
    {%- endif -%}
    {%- set names = get_quoted_csv(get_columns_in_relation(target_relation) | map(attribute='name')) -%}
    {%- set replaced = flagsmith_warehouse.is_replaced() -%}
    {%- if replaced -%}
        {%- call statement('replaced_rows') -%}
            {{ flagsmith_warehouse.delete_rows_matching(
                target_relation, 'target', flagsmith_warehouse.changed_keys_table() ~ ' as changed', replaced) }}
        {%- endcall -%}
    {%- endif -%}
    {%- call statement('main') -%}
        insert into {{ target_relation }} ({{ names }}) select {{ names }} from {{ new_rows }}
    {%- endcall -%}
{% endmacro %}
