{#- The 128 bits of a text's md5, as one number, modulo a small one (below 2^15). -#}
{% macro md5_modulo(text, modulus) %}{{ return(adapter.dispatch('md5_modulo', 'flagsmith_warehouse')(text, modulus)) }}{% endmacro %}

{% macro default__md5_modulo(text, modulus) %}{{ refuse_engine('md5_modulo', 'md5_modulo') }}{% endmacro %}

{#- DuckDB's number has the bytes of the hash in reverse order. Each half is cut into four lanes of two bytes, whose bytes
    are put right. Each lane is multiplied by its power of 2 modulo the modulus. Everything fits in 64 bits and no text is made, which
    takes half the time of cutting numbers out of the hexadecimal text. -#}
{% macro duckdb__md5_modulo(text, modulus) %}
    {%- set hash = 'md5_number(' ~ text ~ ')' -%}
    {%- set terms = [] -%}
    {%- for half, above in [('(' ~ hash ~ ' & 18446744073709551615)', 64), ('(' ~ hash ~ ' >> 64)', 0)] -%}
        {%- set number = 'cast(' ~ half ~ ' as ubigint)' -%}
        {%- set every_other_byte = 'cast(71777214294589695 as ubigint)' -%}
        {%- set lanes = '(((' ~ number ~ ' & ' ~ every_other_byte ~ ') << 8::ubigint) | ((' ~ number ~ ' >> 8::ubigint) & ' ~ every_other_byte ~ '))' -%}
        {%- for lane in range(4) -%}
            {%- do terms.append('((' ~ lanes ~ ' >> ' ~ 16 * lane ~ '::ubigint) & 65535::ubigint) * ' ~ 2 ** (above + 48 - 16 * lane) % modulus ~ '::ubigint') -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return('cast((' ~ terms | join(' + ') ~ ') % ' ~ modulus ~ '::ubigint as bigint)') }}
{% endmacro %}

{% macro spark__md5_modulo(text, modulus) %}
    {%- set terms = [] -%}
    {%- for part in range(8) -%}
        {%- do terms.append("cast(conv(substr(md5(" ~ text ~ "), " ~ (4 * part + 1) ~ ", 4), 16, 10) as bigint) * " ~ 2 ** (112 - 16 * part) % modulus) -%}
    {%- endfor -%}
    {{ return('((' ~ terms | join(' + ') ~ ') % ' ~ modulus ~ ')') }}
{% endmacro %}
