{#- A number that no other row of the select has. The next build may give the same row another one. -#}
{% macro distinct_number() %}{{ return(adapter.dispatch('distinct_number', 'flagsmith_warehouse')()) }}{% endmacro %}

{% macro default__distinct_number() %}{{ refuse_engine('distinct_number', 'distinct_number') }}{% endmacro %}

{% macro duckdb__distinct_number() %}{{ return('row_number() over ()') }}{% endmacro %}

{% macro spark__distinct_number() %}{{ return('monotonically_increasing_id()') }}{% endmacro %}
