{#- A struct with the given fields, {name: expression}. Structs are compared field by field in this order, and a field is
    read as `struct.name`. -#}
{% macro struct_of(fields) %}{{ return(adapter.dispatch('struct_of', 'flagsmith_warehouse')(fields)) }}{% endmacro %}

{% macro default__struct_of(fields) %}{{ refuse_engine('struct_of', 'struct_of') }}{% endmacro %}

{% macro duckdb__struct_of(fields) %}
    {%- set parts = [] -%}
    {%- for name, expression in fields.items() -%}{%- do parts.append(text_literal(name) ~ ': ' ~ expression) -%}{%- endfor -%}
    {{ return('{' ~ parts | join(', ') ~ '}') }}
{% endmacro %}

{% macro spark__struct_of(fields) %}
    {%- set parts = [] -%}
    {%- for name, expression in fields.items() -%}{%- do parts.append(text_literal(name) ~ ', ' ~ expression) -%}{%- endfor -%}
    {{ return('named_struct(' ~ parts | join(', ') ~ ')') }}
{% endmacro %}
