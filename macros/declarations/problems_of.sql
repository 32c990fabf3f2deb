{#- Select: the rows of these relations, each of which is a problem. -#}
{% macro problems_of(names) %}
    {%- for name in names %}
select 'problem' as severity, declaration, row_number, column_name, cell, problem, remedy from {{ name }}
    {{- '\n\nunion all\n' if not loop.last }}
    {%- endfor %}
{% endmacro %}
