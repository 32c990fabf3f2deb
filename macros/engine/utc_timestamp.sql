{#- An ISO 8601 text, with or without an offset, as a timestamp without zone in UTC; null where it is none. -#}
{% macro utc_timestamp(text) %}{{ return(adapter.dispatch('utc_timestamp', 'flagsmith_warehouse')(text)) }}{% endmacro %}

{% macro default__utc_timestamp(text) %}{{ refuse_engine('utc_timestamp', 'utc_timestamp') }}{% endmacro %}

{% macro duckdb__utc_timestamp(text) -%}
    case
        when regexp_matches({{ text }}, '[0-9][ ]*([+-][0-9]{2}(:?[0-9]{2})?|[Zz])$') and contains({{ text }}, ':')
            then cast(try_cast({{ text }} as timestamptz) at time zone 'UTC' as timestamp)
        else try_cast({{ text }} as timestamp)
    end
{%- endmacro %}
