{#- Statement: the table or view of a query, in place of one with that name, or not at all. -#}
{% macro create_or_replace(relation, query) %}{{ return(adapter.dispatch('create_or_replace', 'flagsmith_warehouse')(relation, query)) }}{% endmacro %}

{% macro default__create_or_replace(relation, query) %}{{ refuse_engine('create_or_replace', 'create_or_replace') }}{% endmacro %}

{% macro duckdb__create_or_replace(relation, query) %}
    {{ return('create or replace ' ~ relation.type ~ ' ' ~ relation ~ ' as (\n' ~ query ~ '\n)') }}
{% endmacro %}

{% macro spark__create_or_replace(relation, query) %}
    {{ return('create or replace ' ~ relation.type ~ ' ' ~ relation ~ ' as (\n' ~ query ~ '\n)') }}
{% endmacro %}
