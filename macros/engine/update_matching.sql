{#- A statement that sets columns, {name: expression}, of the rows that match a row of another relation. The condition is what
    is called with, as in delete_matching. -#}
{% macro update_matching(relation, alias, columns, other) %}{{ update_rows_matching(relation, alias, columns, other, caller()) }}{% endmacro %}

{#- The same with the condition as an argument. -#}
{% macro update_rows_matching(relation, alias, columns, other, condition) %}{{ return(adapter.dispatch('update_rows_matching', 'flagsmith_warehouse')(relation, alias, columns, other, condition)) }}{% endmacro %}

{% macro default__update_rows_matching(relation, alias, columns, other, condition) %}{{ refuse_engine('update_rows_matching', 'update_matching') }}{% endmacro %}

{% macro duckdb__update_rows_matching(relation, alias, columns, other, condition) -%}
    update {{ relation }} as {{ alias }}
    set {% for name, expression in columns.items() %}{{ name }} = {{ expression }}{{ ', ' if not loop.last }}{% endfor %}
    from {{ other }}
    where {{ condition }}
{%- endmacro %}

{% macro spark__update_rows_matching(relation, alias, columns, other, condition) -%}
    merge into {{ relation }} as {{ alias }} using {{ other }}
    on {{ condition }}
    when matched then update set {% for name, expression in columns.items() %}{{ alias }}.{{ name }} = {{ expression }}{{ ', ' if not loop.last }}{% endfor %}
{%- endmacro %}
