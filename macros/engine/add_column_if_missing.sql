{#- A statement that adds a column to a table that may have it already. -#}
{% macro add_column_if_missing(relation, column, type) %}{{ return(adapter.dispatch('add_column_if_missing', 'flagsmith_warehouse')(relation, column, type)) }}{% endmacro %}

{% macro default__add_column_if_missing(relation, column, type) %}{{ refuse_engine('add_column_if_missing', 'add_column_if_missing') }}{% endmacro %}

{% macro duckdb__add_column_if_missing(relation, column, type) -%}
    alter table {{ relation }} add column if not exists {{ column }} {{ type }}
{%- endmacro %}

{#- Nothing where there is no table yet: whoever makes it gives it the column. -#}
{% macro spark__add_column_if_missing(relation, column, type) -%}
    {%- set names = adapter.get_columns_in_relation(relation) | map(attribute='name') | list if execute else [] -%}
    {%- if names and column not in names -%}
    alter table {{ relation }} add columns ({{ column }} {{ type }})
    {%- endif -%}
{%- endmacro %}
