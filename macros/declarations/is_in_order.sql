{#- Condition: neither the row nor the header has a problem. The relation must have the column row_number. -#}
{% macro is_in_order(name, relation) -%}
    not exists (
        select 1
        from {{ ref('int_declaration_problems') }} as problems
        where
            problems.declaration = '{{ name }}'
            and problems.severity = 'problem'
            and (problems.row_number = {{ relation }}.row_number or problems.{{ is_of_header(name) }})
    )
{%- endmacro %}

{#- Condition on a problem: it is about the declaration as a whole, and not about one row. -#}
{% macro is_of_header(name) -%}
    row_number {{ 'is null' if var(name, none) else '= 1' }}
{%- endmacro %}
