{#- PERCENTAGE_SPLIT of a value: it holds if the number that Flagsmith draws for the value is at most last_inside. -#}
{% macro split_test(condition) %}
    {%- set last = flagsmith_warehouse.last_inside(condition) -%}
    {%- if last < 0 -%}{{ return({'holds': 'never'}) }}{%- endif -%}
    {%- if last == 9998 -%}{{ return({'holds': 'always', 'reads_version': false, 'split_by': none}) }}{%- endif -%}
    {%- set text = flagsmith_warehouse.hashed_value(condition.segment_id) -%}
    {{ return(flagsmith_warehouse.where_test(
        flagsmith_warehouse.split_number(flagsmith_warehouse.split_column(condition.segment_id), text) ~ ' <= ' ~ last,
        split_by=condition.segment_id)) }}
{% endmacro %}


{#- The number that Flagsmith draws for a text, `<segment id>,<key>`: `hash`, which is the text's md5 (128 bits) modulo 9999. If
    that is 9998, Flagsmith hashes the text written twice, and then three times. -#}
{% macro split_number(hash, text) -%}
    {%- set twice = text ~ " || ',' || " ~ text -%}
    case
        when {{ hash }} = 9998
            then coalesce(nullif({{ md5_modulo(twice, 9999) }}, 9998), {{ md5_modulo(twice ~ " || ',' || " ~ text, 9999) }})
        else {{ hash }}
    end
{%- endmacro %}


{#- The text that Flagsmith hashes to split a value. -#}
{% macro hashed_value(segment_id) %}
    {{ return(text_literal(segment_id ~ ',') ~ ' || value_text') }}
{% endmacro %}


{#- The column with the hash of a value for a segment's splits. -#}
{% macro split_column(segment_id) %}
    {{ return('value_split_' ~ (segment_id | string).replace('-', 'minus_')) }}
{% endmacro %}
