{#- A count as a text with its thousands apart: 1,234,567. -#}
{% macro grouped_digits(count) %}{{ return(adapter.dispatch('grouped_digits', 'flagsmith_warehouse')(count)) }}{% endmacro %}

{% macro default__grouped_digits(count) %}{{ refuse_engine('grouped_digits', 'grouped_digits') }}{% endmacro %}

{% macro duckdb__grouped_digits(count) %}{{ return("format('{:,}', cast(" ~ count ~ ' as bigint))') }}{% endmacro %}

{% macro spark__grouped_digits(count) %}{{ return('format_number(cast(' ~ count ~ ' as bigint), 0)') }}{% endmacro %}
