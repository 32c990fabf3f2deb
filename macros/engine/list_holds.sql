{#- True where a list has the given element. -#}
{% macro list_holds(list, element) %}{{ return(adapter.dispatch('list_holds', 'flagsmith_warehouse')(list, element)) }}{% endmacro %}

{% macro default__list_holds(list, element) %}{{ refuse_engine('list_holds', 'list_holds') }}{% endmacro %}

{% macro duckdb__list_holds(list, element) %}{{ return('list_contains(' ~ list ~ ', ' ~ element ~ ')') }}{% endmacro %}

{% macro spark__list_holds(list, element) %}{{ return('array_contains(' ~ list ~ ', ' ~ element ~ ')') }}{% endmacro %}
