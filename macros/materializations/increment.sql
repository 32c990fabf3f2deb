{#- The materialisation of every model that a build adds to. A model is a plain select over what is to be built:
      {{ changed('int_deliveries') }}  the source's rows that may count otherwise now
      {{ new('int_deliveries') }}      the deliveries that are new to the model
      {{ known() }}                    the model's own rows of what has changed, to be built upon
    In a full build these are the whole source, all deliveries, and no rows: the select is the same.

    A model says in its `meta`:
      adds       the key by which it knows what it has. Rows of other keys are added, and none is ever replaced.
      replaces   what is replaced together (macros/incremental/units.sql): `identity`, `spell`, `state`, `hour`, `day`, ….
      spell      of spells: the columns `begins` and `ends`, and `of`, the column of int_state_spells that they follow.
      prepares   statements of its own that an increment begins with.
      vars       vars that its rows depend on: it is built in full when one changes.
      retention  macros/retention/prune.sql
    Its sources need not be said: they are what it refers to.

    Everything happens in one transaction, the progress of the model included (macros/incremental/progress.sql). Killed
    anywhere, the next build does it all again. What engines do differently (the transaction, a temporary table, a delete by
    the rows of another relation) is in macros/engine. -#}
{% materialization increment, default -%}
    {%- set existing_relation = load_cached_relation(this) -%}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set is_increment = flagsmith_warehouse.is_increment() -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {%- do flagsmith_warehouse.write_increment(existing_relation, target_relation) -%}

    {%- do apply_grants(target_relation, config.get('grants'), should_revoke=should_revoke(existing_relation, not is_increment)) -%}
    {#- Describing costs more than a small increment, so that it is done where a description is new. -#}
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

{#- Replaces the rows of what has changed by those that the select yields now. -#}
{% macro replace_changed(target_relation) %}
    {%- set new_rows = make_temp_relation(target_relation) -%}
    {%- set preparations = flagsmith_warehouse.preparations() -%}
    {%- if preparations -%}{%- call statement('preparations') -%}{{ preparations }}{%- endcall -%}{%- endif -%}
    {%- set changed_keys = flagsmith_warehouse.changed_keys() -%}
    {%- if changed_keys -%}
        {%- call statement('changed_keys') -%}
            {{ flagsmith_warehouse.create_temporary_table(flagsmith_warehouse.changed_keys_table(),
                'select * from (' ~ changed_keys ~ ') as changed_keys' ~ (' limit 0' if flagsmith_warehouse.is_empty_run() else '')) }}
        {%- endcall -%}
    {%- endif -%}
    {%- call statement('new_rows') -%}{{ get_create_table_as_sql(True, new_rows, sql) }}{%- endcall -%}
    {#- Columns change with the logic. Where history is kept, the table is not made anew with them. -#}
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
