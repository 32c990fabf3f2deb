{#- An expression: how many elements a list has. -#}
{% macro list_length(list) %}{{ return(adapter.dispatch('list_length', 'flagsmith_warehouse')(list)) }}{% endmacro %}

{% macro default__list_length(list) %}{{ refuse_engine('list_length', 'list_length') }}{% endmacro %}

{% macro duckdb__list_length(list) -%} len({{ list }}) {%- endmacro %}

{% macro spark__list_length(list) -%} cast(size({{ list }}) as bigint) {%- endmacro %}
