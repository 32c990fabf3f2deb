{#- A query: each problem (not the warnings) in one line: where it is, what is wrong, what to do. -#}
{% macro declaration_problems_in_words() %}
    {%- for mart in ['experiment_declaration_problems', 'cohort_declaration_problems'] %}
    select
        concat_ws(', ', declared_in, 'row ' || cast(row_number as string), column_name)
        || ': ' || problem || coalesce(' (`' || cell || '`)', '') || '. Remedy: ' || remedy || '.' as line
    from {{ ref(mart) }}
    where severity = 'problem'
    {{ 'union all' if not loop.last }}
    {%- endfor %}
    order by line
{% endmacro %}
