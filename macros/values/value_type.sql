{#- The type of a JSON value as Flagsmith spelt it: string, integer, float, boolean, json (an array or object) or null.
    1 and 1.0, "true" and true, "" and null are told apart. -#}
{% macro value_type(json) -%}
    case
        when {{ json }} is null or cast({{ json }} as string) = 'null' then 'null'
        when cast({{ json }} as string) like '"%' then 'string'
        when cast({{ json }} as string) in ('true', 'false') then 'boolean'
        when left(cast({{ json }} as string), 1) in ('{', '[') then 'json'
        when {{ regex_matches('cast(' ~ json ~ ' as string)', '^-?[0-9]+$') }} then 'integer'
        else 'float'
    end
{%- endmacro %}

{#- The text of a JSON value: a string as it is, an integer in decimal, a float in Python's shortest spelling (which is
    Flagsmith's), true and false, null for null. -#}
{% macro value_text(json) -%}
    case {{ value_type(json) }}
        when 'null' then null
        when 'string' then {{ json_text(json) }}
        when 'float' then {{ float_text(json) }}
        else cast({{ json }} as string)
    end
{%- endmacro %}
