{#- Statement: creates the table or view of a query, and replaces one of that name, in one step. `dropped` is a relation of another
    type that has the name, or none. -#}
{% macro create_or_replace(relation, query, dropped) %}
    {{ return(adapter.dispatch('create_or_replace', 'flagsmith_warehouse')(relation, query, dropped)) }}
{% endmacro %}

{% macro default__create_or_replace(relation, query, dropped) %}{{ refuse_engine('create_or_replace', 'create_or_replace') }}{% endmacro %}

{% macro duckdb__create_or_replace(relation, query, dropped) %}
    {{ return(
        (get_drop_sql(dropped) ~ ';\n' if dropped else '')
        ~ 'create or replace ' ~ relation.type ~ ' ' ~ relation ~ ' as (\n' ~ query ~ '\n)'
    ) }}
{% endmacro %}

{#- Spark runs one statement at a time, so a build that is killed in between leaves neither relation. The next one makes it. -#}
{% macro spark__create_or_replace(relation, query, dropped) %}
    {%- if dropped %}{% do run_query(get_drop_sql(dropped)) %}{% endif -%}
    {{ return('create or replace ' ~ relation.type ~ ' ' ~ relation ~ ' as (\n' ~ query ~ '\n)') }}
{% endmacro %}
