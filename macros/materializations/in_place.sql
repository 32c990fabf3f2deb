{#- The materialisations of models that every build makes anew. They do what dbt's own `table` and `view` do, with one statement
    in place of five: nothing is renamed and nothing is dropped, which was most of the time of a small build. Killed anywhere,
    the old relation stands. -#}
{% materialization table_in_place, default -%}
    {{ return(flagsmith_warehouse.replace_in_place('table')) }}
{%- endmaterialization %}

{% materialization view_in_place, default -%}
    {{ return(flagsmith_warehouse.replace_in_place('view')) }}
{%- endmaterialization %}

{#- Makes the relation of the model in hand anew, as a `table` or a `view`, with its descriptions. -#}
{% macro replace_in_place(type) %}
    {%- set existing_relation = load_cached_relation(this) -%}
    {%- set target_relation = this.incorporate(type=type) -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {%- do flagsmith_warehouse.build_in_place(existing_relation, target_relation) -%}
    {%- do apply_grants(target_relation, config.get('grants'), should_revoke=should_revoke(existing_relation, true)) -%}
    {%- do flagsmith_warehouse.describe(target_relation) -%}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- do adapter.commit() -%}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target_relation]}) }}
{% endmacro %}

{#- Replaces what has the name of the target, also where it is of another type. -#}
{% macro build_in_place(existing_relation, target_relation) %}
    {%- if existing_relation and existing_relation.type != target_relation.type -%}
        {%- do adapter.drop_relation(existing_relation) -%}
    {%- endif -%}
    {%- call statement('main') -%}{{ flagsmith_warehouse.create_or_replace(target_relation, sql) }}{%- endcall -%}
{% endmacro %}
