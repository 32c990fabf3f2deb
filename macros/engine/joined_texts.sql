{#- Aggregate: the texts of a group as one, with a separator between them, in the order of another column. Null without a
    text. -#}
{% macro joined_texts(text, separator, order_by) %}{{ return(adapter.dispatch('joined_texts', 'flagsmith_warehouse')(text, separator, order_by)) }}{% endmacro %}

{% macro default__joined_texts(text, separator, order_by) %}{{ refuse_engine('joined_texts', 'joined_texts') }}{% endmacro %}

{% macro duckdb__joined_texts(text, separator, order_by) %}
    {{ return('string_agg(' ~ text ~ ', ' ~ text_literal(separator) ~ ' order by ' ~ order_by ~ ')') }}
{% endmacro %}

{% macro spark__joined_texts(text, separator, order_by) %}
    {{ return('listagg(' ~ text ~ ', ' ~ text_literal(separator) ~ ') within group (order by ' ~ order_by ~ ')') }}
{% endmacro %}
