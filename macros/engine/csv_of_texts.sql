{#- A table expression: a CSV file of our own (comma, quotation marks, UTF-8, a header), every cell a text. -#}
{% macro csv_of_texts(path) %}{{ return(adapter.dispatch('csv_of_texts', 'flagsmith_warehouse')(path)) }}{% endmacro %}

{% macro default__csv_of_texts(path) %}{{ refuse_engine('csv_of_texts', 'csv_of_texts') }}{% endmacro %}

{% macro duckdb__csv_of_texts(path) %}
    {{ return('read_csv(' ~ text_literal(path) ~ ", header = true, all_varchar = true, delim = ',', quote = '\"', escape = '\"')") }}
{% endmacro %}
