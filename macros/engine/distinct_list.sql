{#- Aggregate: the distinct values of a group as a list, in order, without nulls. -#}
{% macro distinct_list(value) %}{{ return(adapter.dispatch('distinct_list', 'flagsmith_warehouse')(value)) }}{% endmacro %}

{% macro default__distinct_list(value) %}{{ refuse_engine('distinct_list', 'distinct_list') }}{% endmacro %}

{% macro duckdb__distinct_list(value) %}{{ return('list(distinct ' ~ value ~ ' order by ' ~ value ~ ') filter (where ' ~ value ~ ' is not null)') }}{% endmacro %}

{% macro spark__distinct_list(value) %}{{ return('nullif(array_sort(collect_set(' ~ value ~ ')), array())') }}{% endmacro %}
