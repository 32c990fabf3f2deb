{#- A number that stands for a long text: equal texts have equal numbers, and two different ones have not (128 bits, two
    of the engine's own 64-bit hashes). MD5 of every body's flags took longer than parsing all bodies.
    The engine may hash otherwise in a later version. Then a set of flags, segments or traits that has not changed gets
    a new number, and int_state_spells a spell more; no mart changes, since these compare elements (stable_hash). -#}
{% macro content_hash(text) %}{{ return(adapter.dispatch('content_hash', 'flagsmith_warehouse')(text)) }}{% endmacro %}

{% macro default__content_hash(text) %}{{ refuse_engine('content_hash', 'content_hash') }}{% endmacro %}

{% macro duckdb__content_hash(text) -%}
    (cast(hash({{ text }}) as uhugeint) << 64) | hash('#' || {{ text }})
{%- endmacro %}


{#- The same for a text of many kilobytes of which few distinct ones are seen: the engine's hash and the length, which took a
    third of the time. Of 1,000,000 distinct texts two have one number with a probability below 3 in 100,000,000. -#}
{% macro long_content_hash(text) %}{{ return(adapter.dispatch('long_content_hash', 'flagsmith_warehouse')(text)) }}{% endmacro %}

{% macro default__long_content_hash(text) %}{{ refuse_engine('long_content_hash', 'content_hash') }}{% endmacro %}

{% macro duckdb__long_content_hash(text) -%}
    (cast(hash({{ text }}) as uhugeint) << 64) | cast(strlen({{ text }}) as ubigint)
{%- endmacro %}


{#- The same for a short text, and the same on every version of the engine (128 bits of MD5). -#}
{% macro stable_hash(text) %}{{ return(adapter.dispatch('stable_hash', 'flagsmith_warehouse')(text)) }}{% endmacro %}

{% macro default__stable_hash(text) %}{{ refuse_engine('stable_hash', 'content_hash') }}{% endmacro %}

{% macro duckdb__stable_hash(text) -%} md5_number({{ text }}) {%- endmacro %}
