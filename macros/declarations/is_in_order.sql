{#- Condition: nothing is wrong with a row of the relation, which has the column row_number, nor with the header. -#}
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
