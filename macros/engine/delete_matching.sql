{#- A statement that deletes the rows that match a row of another relation. The condition is what is called with:
      {% call delete_matching(relation, 'target', 'pruned as pruned') %} target.key = pruned.key {% endcall %}; -#}
{% macro delete_matching(relation, alias, other) %}{{ delete_rows_matching(relation, alias, other, caller()) }}{% endmacro %}

{#- The same with the condition as an argument. -#}
{% macro delete_rows_matching(relation, alias, other, condition) %}{{ return(adapter.dispatch('delete_rows_matching', 'flagsmith_warehouse')(relation, alias, other, condition)) }}{% endmacro %}

{% macro default__delete_rows_matching(relation, alias, other, condition) %}{{ refuse_engine('delete_rows_matching', 'delete_matching') }}{% endmacro %}

{% macro duckdb__delete_rows_matching(relation, alias, other, condition) -%}
    delete from {{ relation }} as {{ alias }} using {{ other }}
    where {{ condition }}
{%- endmacro %}

{% macro spark__delete_rows_matching(relation, alias, other, condition) -%}
    merge into {{ relation }} as {{ alias }} using {{ other }}
    on {{ condition }}
    when matched then delete
{%- endmacro %}
