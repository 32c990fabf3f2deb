{#- The materialisations of models that every build makes anew. dbt's own `table` and `view` build a second relation, rename
    both and drop the old one. These do the same in one statement. If the build is killed, the old relation is still there. -#}
{% materialization table_in_place, default -%}
    {{ return(flagsmith_warehouse.replace_in_place('table')) }}
{%- endmaterialization %}

{% materialization view_in_place, default -%}
    {{ return(flagsmith_warehouse.replace_in_place('view')) }}
{%- endmaterialization %}

{#- Makes the relation of the current model anew, as a `table` or a `view`, with its descriptions. -#}
{% macro replace_in_place(type) %}
    {%- set existing_relation = load_cached_relation(this) -%}
    {%- set target_relation = this.incorporate(type=type) -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {%- do flagsmith_warehouse.renew_build_lock() -%}
    {%- do flagsmith_warehouse.build_in_place(existing_relation, target_relation) -%}
    {%- do apply_grants(target_relation, config.get('grants'), should_revoke=should_revoke(existing_relation, true)) -%}
    {%- do flagsmith_warehouse.describe(target_relation) -%}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- do adapter.commit() -%}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target_relation]}) }}
{% endmacro %}

{#- Creates the target and drops the relation that had its name, even one of another type. Both happen, or neither. -#}
{% macro build_in_place(existing_relation, target_relation) %}
    {%- set is_of_another_type = existing_relation and existing_relation.type != target_relation.type -%}
    {%- set dropped = existing_relation if is_of_another_type else none -%}
    {%- call statement('main') -%}{{ flagsmith_warehouse.create_or_replace(target_relation, sql, dropped) }}{%- endcall -%}
    {%- do flagsmith_warehouse.refuse_broken_contract(target_relation) -%}
    {%- if is_of_another_type -%}{%- do adapter.cache_dropped(existing_relation) -%}{%- endif -%}
{% endmacro %}
