{#- A number that stands for a text: equal texts have equal numbers, and two different ones have not (128 bits of
    MD5). The same on every version of the engine, since it is stored. -#}
{% macro content_hash(text) %}{{ return(adapter.dispatch('content_hash', 'flagsmith_warehouse')(text)) }}{% endmacro %}

{% macro default__content_hash(text) %}{{ refuse_engine('content_hash', 'content_hash') }}{% endmacro %}

{% macro duckdb__content_hash(text) -%} md5_number({{ text }}) {%- endmacro %}


{#- The type that content_hash gives. -#}
{% macro content_hash_type() %}{{ return(adapter.dispatch('content_hash_type', 'flagsmith_warehouse')()) }}{% endmacro %}

{% macro default__content_hash_type() %}{{ refuse_engine('content_hash_type', 'content_hash') }}{% endmacro %}

{% macro duckdb__content_hash_type() -%} uhugeint {%- endmacro %}
