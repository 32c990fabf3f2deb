{#- `with name as {{ evaluated_once() }} (…)`: the engine must compute the CTE only once, however many places read it, and must
    not mix its joins with those of its readers. -#}
{% macro evaluated_once() %}{{ return(adapter.dispatch('evaluated_once', 'flagsmith_warehouse')()) }}{% endmacro %}

{% macro default__evaluated_once() %}{{ refuse_engine('evaluated_once', 'evaluated_once') }}{% endmacro %}

{% macro duckdb__evaluated_once() %}{{ return('materialized') }}{% endmacro %}

{% macro spark__evaluated_once() %}{{ return('') }}{% endmacro %}
