{#- A statement that makes a temporary table of a query, in place of one with that name:
      {% call temporary_table('name') %} select … {% endcall %}; -#}
{% macro temporary_table(name) %}{{ create_temporary_table(name, caller()) }}{% endmacro %}

{#- The same with the query as an argument. -#}
{% macro create_temporary_table(name, query) %}{{ return(adapter.dispatch('create_temporary_table', 'flagsmith_warehouse')(name, query)) }}{% endmacro %}

{% macro default__create_temporary_table(name, query) %}{{ refuse_engine('create_temporary_table', 'temporary_table') }}{% endmacro %}

{% macro duckdb__create_temporary_table(name, query) -%}
    create or replace temporary table {{ name }} as {{ query }}
{%- endmacro %}

{#- A view: Spark has no temporary tables. One statement that writes reads it once, before it writes. -#}
{% macro spark__create_temporary_table(name, query) -%}
    create or replace temporary view {{ name }} as {{ query }}
{%- endmacro %}
