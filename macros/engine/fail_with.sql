{#- An expression that stops the query with this message: how a test tells a person what is wrong with which row. -#}
{% macro fail_with(message) %}{{ return(adapter.dispatch('fail_with', 'flagsmith_warehouse')(message)) }}{% endmacro %}

{% macro default__fail_with(message) %}{{ refuse_engine('fail_with', 'fail_with') }}{% endmacro %}

{% macro duckdb__fail_with(message) -%} error({{ message }}) {%- endmacro %}

{% macro spark__fail_with(message) -%} raise_error({{ message }}) {%- endmacro %}
