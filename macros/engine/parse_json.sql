{#- The parts of a JSON document at the given paths, in one pass: a list of JSON texts, one a path, counted from 1.
    A part is null where the key is absent and the text `null` where the value is null. Null as a whole where the
    text is not JSON to the engine (an escaped lone surrogate is not, to DuckDB): `try` instead of a guard with
    json_valid, which would parse every body twice. -#}
{% macro json_parts(text, paths) %}{{ return(adapter.dispatch('json_parts', 'flagsmith_warehouse')(text, paths)) }}{% endmacro %}

{% macro default__json_parts(text, paths) %}{{ refuse_engine('json_parts', 'parse_json') }}{% endmacro %}

{% macro duckdb__json_parts(text, paths) -%}
    case when not {{ is_json_to_duckdb_alone(text) }} then try(json_extract({{ text }}, ['{{ paths | join("', '") }}'])) end
{%- endmacro %}


{#- True of a text that DuckDB reads and that is not JSON: a comma behind the last element of an array or object; NaN and
    Infinity in another spelling than Python's (`nan`, `-NaN`, `inf`). Strings may hold the same, so the few texts that look
    like it are looked at without their strings, and without the numbers in Python's spelling. CASE, because DuckDB computes
    both sides of AND for every text. Three searches take half as long as one for all. -#}
{% macro is_json_to_duckdb_alone(text) -%}
    {%- set space, string = '[ \t\r\n]*', '"([^"\\\\]|\\\\.)*"' -%}
    {%- set comma, end = ',' ~ space ~ '[]}]', space ~ '([],}]|$)' -%}
    {%- set plain = regex_replaced(regex_replaced(text, string, '""'), '(^|[^-])NaN|Infinity', '\\1' ~ '0') -%}
    case
        when {{ regex_matches(text, comma) }} or {{ regex_matches(text, '(?i)nan' ~ end) }} or {{ regex_matches(text, '(?i)inf(inity)?' ~ end) }}
            then {{ regex_matches(plain, comma ~ '|(?i:nan|inf)') }}
        else false
    end
{%- endmacro %}


{#- A JSON array as a list of structs with the given fields. `fields`: name -> type, where a type is an SQL type, JSON,
    or a further such mapping. An element that does not fit is a null element; a field that does not fit, a null
    field. Typed, since reading the elements one by one took twice as long. -#}
{% macro json_array(text, fields) %}{{ return(adapter.dispatch('json_array', 'flagsmith_warehouse')(text, fields)) }}{% endmacro %}

{% macro default__json_array(text, fields) %}{{ refuse_engine('json_array', 'parse_json') }}{% endmacro %}

{% macro duckdb__json_array(text, fields) -%} from_json({{ text }}, '[{{ tojson(fields) }}]') {%- endmacro %}


{#- One JSON object as a struct with the given fields, as in json_array; a null where it is no object. -#}
{% macro json_object(text, fields) %}{{ return(adapter.dispatch('json_object', 'flagsmith_warehouse')(text, fields)) }}{% endmacro %}

{% macro default__json_object(text, fields) %}{{ refuse_engine('json_object', 'parse_json') }}{% endmacro %}

{% macro duckdb__json_object(text, fields) -%} from_json({{ text }}, '{{ tojson(fields) }}') {%- endmacro %}


{#- The elements of the array at a path of a JSON document, each as its JSON text; none where there is no array, and
    null as a whole where the text is not JSON. -#}
{% macro json_elements(text, path) %}{{ return(adapter.dispatch('json_elements', 'flagsmith_warehouse')(text, path)) }}{% endmacro %}

{% macro default__json_elements(text, path) %}{{ refuse_engine('json_elements', 'parse_json') }}{% endmacro %}

{% macro duckdb__json_elements(text, path) -%}
    case when not {{ is_json_to_duckdb_alone(text) }} then cast(try(json_extract({{ text }}, '{{ path }}[*]')) as varchar[]) end
{%- endmacro %}


{#- A list's elements as rows: the select-list items `element` and `position` (from 1). -#}
{% macro unnest_list(list) %}{{ return(adapter.dispatch('unnest_list', 'flagsmith_warehouse')(list)) }}{% endmacro %}

{% macro default__unnest_list(list) %}{{ refuse_engine('unnest_list', 'parse_json') }}{% endmacro %}

{% macro duckdb__unnest_list(list) -%}
    unnest({{ list }}) as element,
    generate_subscripts({{ list }}, 1) as position
{%- endmacro %}


{#- The text of a JSON string; of anything else, its JSON text. -#}
{% macro json_text(json) %}{{ return(adapter.dispatch('json_text', 'flagsmith_warehouse')(json)) }}{% endmacro %}

{% macro default__json_text(json) %}{{ refuse_engine('json_text', 'parse_json') }}{% endmacro %}

{% macro duckdb__json_text(json) -%} ({{ json }} ->> '$') {%- endmacro %}


{#- A text as a JSON string. -#}
{% macro json_quoted(text) %}{{ return(adapter.dispatch('json_quoted', 'flagsmith_warehouse')(text)) }}{% endmacro %}

{% macro default__json_quoted(text) %}{{ refuse_engine('json_quoted', 'parse_json') }}{% endmacro %}

{% macro duckdb__json_quoted(text) -%} cast(to_json({{ text }}) as varchar) {%- endmacro %}


{#- A JSON string's text; null for anything else. -#}
{% macro json_string(json) -%}
    case when cast({{ json }} as string) like '"%' then {{ json_text(json) }} end
{%- endmacro %}


{#- A JSON integer of 64 bits; null for anything else: `"1"`, `1.0` and `true` are none. -#}
{% macro json_integer(json) -%}
    case when {{ regex_matches('cast(' ~ json ~ ' as string)', '^-?[0-9]+$') }} then try_cast(cast({{ json }} as string) as bigint) end
{%- endmacro %}


{#- A JSON boolean; null for anything else: `"true"` and `1` are none. -#}
{% macro json_boolean(json) -%}
    case when cast({{ json }} as string) in ('true', 'false') then cast({{ json }} as string) = 'true' end
{%- endmacro %}


{#- A text that is JSON, as the engine's type for JSON. -#}
{% macro json_of(text) %}{{ return(adapter.dispatch('json_of', 'flagsmith_warehouse')(text)) }}{% endmacro %}

{% macro default__json_of(text) %}{{ refuse_engine('json_of', 'parse_json') }}{% endmacro %}

{% macro duckdb__json_of(text) %}{{ return('cast(' ~ text ~ ' as json)') }}{% endmacro %}
