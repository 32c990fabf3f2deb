{#- Whether retention works on the engine (macros/retention). -#}
{% macro prunes() %}{{ return(adapter.dispatch('prunes', 'flagsmith_warehouse')()) }}{% endmacro %}

{% macro default__prunes() %}{{ return(false) }}{% endmacro %}

{% macro duckdb__prunes() %}{{ return(true) }}{% endmacro %}
