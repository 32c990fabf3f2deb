{#- A query for one text that stands for all rows of a relation, in whatever order they are; empty without a row. -#}
{% macro rows_hash(relation) %}{{ return(adapter.dispatch('rows_hash', 'flagsmith_warehouse')(relation)) }}{% endmacro %}

{% macro default__rows_hash(relation) %}{{ refuse_engine('rows_hash', 'rows_hash') }}{% endmacro %}

{% macro duckdb__rows_hash(relation) %}
    {%- set row = 'cast(given as varchar)' -%}
    {{ return("select coalesce(md5(string_agg(" ~ row ~ ", '\n' order by " ~ row ~ ")), '') from " ~ relation ~ ' as given') }}
{% endmacro %}

{% macro spark__rows_hash(relation) %}
    {{ return("select coalesce(md5(listagg(line, ';') within group (order by line)), '') from (select to_json(struct(given.*)) as line from "
        ~ relation ~ ' as given) as lines') }}
{% endmacro %}
