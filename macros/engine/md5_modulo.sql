{#- The 128 bits of a text's md5, as one number, modulo a small one (below 2^15). -#}
{% macro md5_modulo(text, modulus) %}{{ return(adapter.dispatch('md5_modulo', 'flagsmith_warehouse')(text, modulus)) }}{% endmacro %}

{% macro default__md5_modulo(text, modulus) %}{{ refuse_engine('md5_modulo', 'md5_modulo') }}{% endmacro %}

{#- Three numbers of 44, 44 and 40 bits instead of one of 128: three times as fast, and all fits a bigint. -#}
{% macro duckdb__md5_modulo(text, modulus) %}
    {%- set terms = [] -%}
    {%- for start, digits, weight in [(1, 11, 2 ** 84), (12, 11, 2 ** 40), (23, 10, 1)] -%}
        {%- do terms.append("cast('0x' || substr(md5(" ~ text ~ '), ' ~ start ~ ', ' ~ digits ~ ') as bigint) * ' ~ weight % modulus) -%}
    {%- endfor -%}
    {{ return('((' ~ terms | join(' + ') ~ ') % ' ~ modulus ~ ')') }}
{% endmacro %}
