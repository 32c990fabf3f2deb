{#- A number of 128 bits that stands for a text: equal texts have equal numbers, and nobody can make another text with the
    number of a given one, or two texts with one number. Texts come from outside, and sets are shared by environments
    and identities: with a weak hash, a body sent to one environment could change the rows of another. SHA-256; the
    MD5 of its hexadecimal text only makes a number of it, since DuckDB compares numbers faster than texts. -#}
{% macro content_hash(text) %}{{ return(adapter.dispatch('content_hash', 'flagsmith_warehouse')(text)) }}{% endmacro %}

{% macro default__content_hash(text) %}{{ refuse_engine('content_hash', 'content_hash') }}{% endmacro %}

{% macro duckdb__content_hash(text) -%} md5_number(sha256({{ text }})) {%- endmacro %}

{#- A text: Spark has no number of 128 bits without a fraction. -#}
{% macro spark__content_hash(text) -%} sha2({{ text }}, 256) {%- endmacro %}


{#- The same for an array of flags, which is many kilobytes long and holds no text that an end user can choose. SHA-1 takes
    40 % of the time of SHA-256 here, and no more than MD5. A second text with the SHA-1 of a given one cannot be made; two with
    one SHA-1 have been made, for tens of thousands of dollars, of bytes that Flagsmith never sends. -#}
{% macro long_content_hash(text) %}{{ return(adapter.dispatch('long_content_hash', 'flagsmith_warehouse')(text)) }}{% endmacro %}

{% macro default__long_content_hash(text) %}{{ refuse_engine('long_content_hash', 'content_hash') }}{% endmacro %}

{% macro duckdb__long_content_hash(text) -%} md5_number(sha1({{ text }})) {%- endmacro %}

{% macro spark__long_content_hash(text) -%} sha1({{ text }}) {%- endmacro %}


{#- One text of several: different parts never make the same text, whatever is in them. Each is written with its length
    before it; a null is `-`. -#}
{% macro text_of(parts) -%}
    {%- for part in parts -%}
        coalesce(cast({{ length_of('cast(' ~ part ~ ' as string)') }} as string) || ':' || cast({{ part }} as string), '-')
        {{- ' || ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}
