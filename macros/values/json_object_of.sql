{#- Aggregate: a JSON object of keys and typed values, as text, with sorted keys. -#}
{% macro json_object_of(key, value_text, value_type) -%}
    {%- set member -%}
    {{ json_quoted(key) }} || ': '
        || case
            when {{ value_type }} = 'null' then 'null'
            when {{ value_type }} = 'string' then {{ json_quoted(value_text) }}
            else {{ value_text }}
        end
    {%- endset -%}
    '{' || {{ joined_texts(member, ', ', key) }} || '}'
{%- endmacro %}
