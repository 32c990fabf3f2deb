{#- The parts of a JSON document at the given paths, in one pass: a list of JSON texts, one a path, counted from 1.
    A part is null where the key is absent and the text `null` where the value is null. Null as a whole where the
    text is not JSON to the engine (an escaped lone surrogate is not, to DuckDB): `try` instead of a guard with
    json_valid, which would parse every body twice. -#}
{% macro json_parts(text, paths) %}{{ return(adapter.dispatch('json_parts', 'flagsmith_warehouse')(text, paths)) }}{% endmacro %}

{% macro default__json_parts(text, paths) %}{{ refuse_engine('json_parts', 'parse_json') }}{% endmacro %}

{% macro duckdb__json_parts(text, paths) -%}
    try(json_extract({{ text }}, ['{{ paths | join("', '") }}']))
{%- endmacro %}


{#- The elements of a JSON array as rows: the select list's items `element` (a struct with the given fields) and
    `position` (from 1). `fields`: name -> type, where a type is an SQL type, JSON, or a further such mapping.
    An element that does not fit is a null element; a field that does not fit is a null field. -#}
{% macro json_elements(text, fields) %}{{ return(adapter.dispatch('json_elements', 'flagsmith_warehouse')(text, fields)) }}{% endmacro %}

{% macro default__json_elements(text, fields) %}{{ refuse_engine('json_elements', 'parse_json') }}{% endmacro %}

{% macro duckdb__json_elements(text, fields) -%}
    {%- set elements -%} from_json({{ text }}, '[{{ tojson(fields) }}]') {%- endset -%}
    unnest({{ elements }}) as element,
    generate_subscripts({{ elements }}, 1) as position
{%- endmacro %}


{#- The text of a JSON string; of anything else, its JSON text. -#}
{% macro json_text(json) %}{{ return(adapter.dispatch('json_text', 'flagsmith_warehouse')(json)) }}{% endmacro %}

{% macro default__json_text(json) %}{{ refuse_engine('json_text', 'parse_json') }}{% endmacro %}

{% macro duckdb__json_text(json) -%} ({{ json }} ->> '$') {%- endmacro %}


{#- A text as a JSON string. -#}
{% macro json_quoted(text) %}{{ return(adapter.dispatch('json_quoted', 'flagsmith_warehouse')(text)) }}{% endmacro %}

{% macro default__json_quoted(text) %}{{ refuse_engine('json_quoted', 'parse_json') }}{% endmacro %}

{% macro duckdb__json_quoted(text) -%} cast(to_json({{ text }}) as varchar) {%- endmacro %}
