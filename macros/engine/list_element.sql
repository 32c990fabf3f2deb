{#- The element of a list at a position, counted from 1; null where the list is shorter. -#}
{% macro list_element(list, position) %}{{ return(adapter.dispatch('list_element', 'flagsmith_warehouse')(list, position)) }}{% endmacro %}

{% macro default__list_element(list, position) %}{{ refuse_engine('list_element', 'list_element') }}{% endmacro %}

{% macro duckdb__list_element(list, position) %}{{ return(list ~ '[' ~ position ~ ']') }}{% endmacro %}

{% macro spark__list_element(list, position) %}{{ return('get(' ~ list ~ ', ' ~ position ~ ' - 1)') }}{% endmacro %}
