{#- A list of the given expressions. -#}
{% macro list_of(items) %}{{ return(adapter.dispatch('list_of', 'flagsmith_warehouse')(items)) }}{% endmacro %}

{% macro default__list_of(items) %}{{ refuse_engine('list_of', 'list_of') }}{% endmacro %}

{% macro duckdb__list_of(items) %}{{ return('[' ~ items | join(', ') ~ ']') }}{% endmacro %}

{% macro spark__list_of(items) %}{{ return('array(' ~ items | join(', ') ~ ')') }}{% endmacro %}
