{#- Several statements as a hook takes them. Empty ones are left out. -#}
{% macro run_each(statements) %}{{ return(adapter.dispatch('run_each', 'flagsmith_warehouse')(statements)) }}{% endmacro %}

{% macro default__run_each(statements) %}{{ refuse_engine('run_each', 'run_each') }}{% endmacro %}

{% macro duckdb__run_each(statements) %}{{ return(statements | map('trim') | select | join(';\n')) }}{% endmacro %}

{#- Spark takes one statement at a time. -#}
{% macro spark__run_each(statements) %}
    {%- if execute -%}
    {%- for statement in statements | map('trim') | select -%}{%- do run_query(statement) -%}{%- endfor -%}
    {%- endif -%}
    {{ return('') }}
{% endmacro %}
