{#- Select-list item: all columns of a relation, given by its alias, but some. -#}
{% macro columns_but(alias, left_out) %}{{ return(adapter.dispatch('columns_but', 'flagsmith_warehouse')(alias, left_out)) }}{% endmacro %}

{% macro default__columns_but(alias, left_out) %}{{ refuse_engine('columns_but', 'columns_but') }}{% endmacro %}

{% macro duckdb__columns_but(alias, left_out) %}{{ return(alias ~ '.* exclude (' ~ left_out | join(', ') ~ ')') }}{% endmacro %}

{% macro spark__columns_but(alias, left_out) %}{{ return(alias ~ '.* except (' ~ left_out | join(', ') ~ ')') }}{% endmacro %}
