{#- Select-list item: one row per part of a text between separators. -#}
{% macro text_parts(text, separator) %}
    {{ return(adapter.dispatch('text_parts', 'flagsmith_warehouse')(text, separator)) }}
{% endmacro %}

{% macro default__text_parts(text, separator) %}{{ refuse_engine('text_parts', 'text_parts') }}{% endmacro %}

{% macro duckdb__text_parts(text, separator) -%} unnest(string_split({{ text }}, '{{ separator }}')) {%- endmacro %}

{% macro spark__text_parts(text, separator) -%} explode(split({{ text }}, {{ text_literal('\\Q' ~ separator ~ '\\E') }})) {%- endmacro %}
