{#- The parts of a JSON document at the given paths, in one pass: a list of JSON texts, one a path, counted from 1.
    A part is null where the key is absent and the text `null` where the value is null. Null as a whole where the
    text is not JSON to the engine (an escaped lone surrogate is not, to DuckDB): `try` instead of a guard with
    json_valid, which would parse every body twice. -#}
{% macro json_parts(text, paths) %}{{ return(adapter.dispatch('json_parts', 'flagsmith_warehouse')(text, paths)) }}{% endmacro %}

{% macro default__json_parts(text, paths) %}{{ refuse_engine('json_parts', 'parse_json') }}{% endmacro %}

{% macro duckdb__json_parts(text, paths) -%}
    case when not {{ is_json_to_duckdb_alone(text) }} then try(json_extract({{ text }}, ['{{ paths | join("', '") }}'])) end
{%- endmacro %}

{% macro spark__json_parts(text, paths) -%}
    {%- set parts = [] -%}
    {%- for path in paths -%}{%- do parts.append(spark_json_part(text, path)) -%}{%- endfor -%}
    case when try_parse_json({{ text }}) is not null then array({{ parts | join(', ') }}) end
{%- endmacro %}


{#- The JSON text at a path; the text `null` where the value is null. As a variant a value keeps its type, but 1.0 becomes 1. As
    a text it keeps its spelling, but strings lose their quotes, and null and absent are one. -#}
{% macro spark_json_part(text, path) %}
    {%- set typed = "to_json(try_variant_get(try_parse_json(" ~ text ~ "), '" ~ path ~ "', 'variant'))" -%}
    {{ return('case when left(' ~ typed ~ ", 1) = '\"' then " ~ typed ~ ' else coalesce(get_json_object(' ~ text ~ ", '" ~ path ~ "'), " ~ typed ~ ') end') }}
{% endmacro %}


{#- True of a text that DuckDB reads and that is not JSON: a comma behind the last element of an array or object; NaN and
    Infinity spelt otherwise than in Python (`nan`, `-NaN`, `inf`). Strings may contain the same characters, so the few texts that look
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

{% macro spark__json_array(text, fields) -%}
    transform({{ json_elements(text, '$') }}, each_element -> {{ json_object('each_element', fields) }})
{%- endmacro %}


{#- One JSON object as a struct with the given fields, as in json_array; a null where it is no object. -#}
{% macro json_object(text, fields) %}{{ return(adapter.dispatch('json_object', 'flagsmith_warehouse')(text, fields)) }}{% endmacro %}

{% macro default__json_object(text, fields) %}{{ refuse_engine('json_object', 'parse_json') }}{% endmacro %}

{% macro duckdb__json_object(text, fields) -%} from_json({{ text }}, '{{ tojson(fields) }}') {%- endmacro %}

{% macro spark__json_object(text, fields) %}{{ return(spark_json_struct(text, fields, '$')) }}{% endmacro %}

{% macro spark_json_struct(text, fields, path) %}
    {%- set parts = [] -%}
    {%- for name, type in fields.items() -%}
        {%- set place = path ~ '.' ~ name -%}
        {%- if type is mapping -%}{%- set value = spark_json_struct(text, type, place) -%}
        {%- else -%}{%- set value = "nullif(" ~ spark_json_part(text, place) ~ ", 'null')" -%}
            {%- if type | lower != 'json' -%}{{ exceptions.raise_compiler_error('On Spark, fields of JSON objects are read as JSON only.') }}{%- endif -%}
        {%- endif -%}
        {%- do parts.append("'" ~ name ~ "', " ~ value) -%}
    {%- endfor -%}
    {{ return('named_struct(' ~ parts | join(', ') ~ ')') }}
{% endmacro %}


{#- The elements of the array at a path of a JSON document, each as its JSON text; none where there is no array, and
    null as a whole where the text is not JSON. -#}
{% macro json_elements(text, path) %}{{ return(adapter.dispatch('json_elements', 'flagsmith_warehouse')(text, path)) }}{% endmacro %}

{% macro default__json_elements(text, path) %}{{ refuse_engine('json_elements', 'parse_json') }}{% endmacro %}

{% macro duckdb__json_elements(text, path) -%}
    case when not {{ is_json_to_duckdb_alone(text) }} then cast(try(json_extract({{ text }}, '{{ path }}[*]')) as varchar[]) end
{%- endmacro %}

{% macro spark__json_elements(text, path) -%}
    {%- set typed = "try_variant_get(try_parse_json(" ~ text ~ "), '" ~ path ~ "', 'array<variant>')" -%}
    case
        when {{ typed }} is not null then zip_with(
            from_json(get_json_object({{ text }}, '{{ path }}'), 'array<string>'), {{ typed }},
            (spelt, value) -> case when left(to_json(value), 1) = '"' then to_json(value) else coalesce(spelt, to_json(value)) end
        )
        when try_parse_json({{ text }}) is not null then cast(array() as array<string>)
    end
{%- endmacro %}


{#- A list's elements as rows: the select-list items `element` and `position` (from 1). -#}
{% macro unnest_list(list) %}{{ return(adapter.dispatch('unnest_list', 'flagsmith_warehouse')(list)) }}{% endmacro %}

{% macro default__unnest_list(list) %}{{ refuse_engine('unnest_list', 'parse_json') }}{% endmacro %}

{% macro duckdb__unnest_list(list) -%}
    unnest({{ list }}) as element,
    generate_subscripts({{ list }}, 1) as position
{%- endmacro %}

{% macro spark__unnest_list(list) -%}
    inline(transform({{ list }}, (each_element, place) -> named_struct('element', each_element, 'position', cast(place + 1 as bigint))))
{%- endmacro %}


{#- The text of a JSON string; of anything else, its JSON text. -#}
{% macro json_text(json) %}{{ return(adapter.dispatch('json_text', 'flagsmith_warehouse')(json)) }}{% endmacro %}

{% macro default__json_text(json) %}{{ refuse_engine('json_text', 'parse_json') }}{% endmacro %}

{% macro duckdb__json_text(json) -%} ({{ json }} ->> '$') {%- endmacro %}

{% macro spark__json_text(json) -%}
    case when left({{ json }}, 1) = '"' then try_variant_get(try_parse_json({{ json }}), '$', 'string') else {{ json }} end
{%- endmacro %}


{#- A text as a JSON string. -#}
{% macro json_quoted(text) %}{{ return(adapter.dispatch('json_quoted', 'flagsmith_warehouse')(text)) }}{% endmacro %}

{% macro default__json_quoted(text) %}{{ refuse_engine('json_quoted', 'parse_json') }}{% endmacro %}

{% macro duckdb__json_quoted(text) -%} cast(to_json({{ text }}) as varchar) {%- endmacro %}

{% macro spark__json_quoted(text) -%}
    substring(to_json(array(cast({{ text }} as string))), 2, length(to_json(array(cast({{ text }} as string)))) - 2)
{%- endmacro %}


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

{% macro spark__json_of(text) %}{{ return(text) }}{% endmacro %}
