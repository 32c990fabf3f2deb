{#- A number below 2^52 that is made of a text: as good as unique among thousands of texts. -#}
{% macro text_number(text) %}{{ return(adapter.dispatch('text_number', 'flagsmith_warehouse')(text)) }}{% endmacro %}

{% macro default__text_number(text) %}{{ refuse_engine('text_number', 'text_number') }}{% endmacro %}

{% macro duckdb__text_number(text) %}{{ return("cast('0x' || substr(md5(" ~ text ~ '), 1, 13) as bigint)') }}{% endmacro %}

{% macro spark__text_number(text) %}{{ return('cast(conv(substr(md5(' ~ text ~ '), 1, 13), 16, 10) as bigint)') }}{% endmacro %}
