{#- Length in bytes of a landed body: of its UTF-8, or of what its base64 stands for. -#}
{% macro body_bytes(body, encoding) %}{{ return(adapter.dispatch('body_bytes', 'flagsmith_warehouse')(body, encoding)) }}{% endmacro %}

{% macro default__body_bytes(body, encoding) %}{{ refuse_engine('body_bytes', 'body_bytes') }}{% endmacro %}

{% macro duckdb__body_bytes(body, encoding) -%}
    case when {{ encoding }} = 'base64' then octet_length(try(from_base64({{ body }}))) else strlen({{ body }}) end
{%- endmacro %}

{% macro spark__body_bytes(body, encoding) -%}
    case when {{ encoding }} = 'base64' then octet_length(try_to_binary({{ body }}, 'base64')) else octet_length({{ body }}) end
{%- endmacro %}
