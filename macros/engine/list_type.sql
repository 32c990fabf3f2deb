{#- The type of a list whose elements have the given type. -#}
{% macro list_type(type) %}{{ return(adapter.dispatch('list_type', 'flagsmith_warehouse')(type)) }}{% endmacro %}

{% macro default__list_type(type) %}{{ refuse_engine('list_type', 'list_type') }}{% endmacro %}

{% macro duckdb__list_type(type) %}{{ return(type ~ '[]') }}{% endmacro %}

{% macro spark__list_type(type) %}{{ return('array<' ~ type ~ '>') }}{% endmacro %}
