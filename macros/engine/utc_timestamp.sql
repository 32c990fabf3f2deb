{#- An ISO 8601 text (`2026-05-01`, `2026-05-01T14:00:00.5`, with or without an offset: `Z`, `UTC` or `+02:00`, a blank before it
    or not) as a timestamp without zone in UTC, whatever the session's time zone; null for anything else. Without an offset it
    is UTC. -#}
{% macro utc_timestamp(text) %}{{ return(adapter.dispatch('utc_timestamp', 'flagsmith_warehouse')(text)) }}{% endmacro %}

{% macro default__utc_timestamp(text) %}{{ refuse_engine('utc_timestamp', 'utc_timestamp') }}{% endmacro %}

{#- DuckDB casts a text with an offset to a timestamp by dropping the offset, and one without to a timestamptz by the session's
    time zone. It reads no offset behind a blank. -#}
{% macro duckdb__utc_timestamp(text) -%}
    {%- set letters = 'upper(' ~ text ~ ')' -%}
    {%- set moment = '^[12][0-9]{3}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?' -%}
    case
        when {{ regex_matches(letters, moment ~ ')?$') }} then try_cast({{ letters }} as timestamp)
        when {{ regex_matches(letters, moment ~ ') ?(Z|UTC|[+-][0-9]{2}(:?[0-9]{2})?)$') }}
            then timezone('UTC', try_cast(replace({{ regex_replaced(letters, ' ([ZU+-])', '\\1') }}, 'UTC', 'Z') as timestamptz))
    end
{%- endmacro %}

{#- Spark reads neither an hour without minutes in an offset, nor an offset behind a time without seconds. -#}
{% macro spark__utc_timestamp(text) -%}
    {%- set letters = 'upper(' ~ text ~ ')' -%}
    {%- set moment = '^[12][0-9]{3}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?' -%}
    {%- set no_blank = regex_replaced(letters, ' ?(Z|UTC)$| (?=[+-])', '') -%}
    {%- set seconds = regex_replaced(no_blank, '^([^T ]+[T ][0-9]{2}:[0-9]{2})(?=[+-]|$)', '\\1:00') -%}
    {%- set minutes = regex_replaced(regex_replaced(seconds, '(:[0-9.]+[+-][0-9]{2})$', '\\1:00'), '([+-][0-9]{2})([0-9]{2})$', '\\1:\\2') -%}
    case
        when {{ regex_matches(letters, moment ~ ')?$') }} then try_cast({{ letters }} as timestamp)
        when {{ regex_matches(letters, moment ~ ') ?(Z|UTC|[+-][0-9]{2}(:?[0-9]{2})?)$') }} then try_cast({{ minutes }} as timestamp)
    end
{%- endmacro %}
