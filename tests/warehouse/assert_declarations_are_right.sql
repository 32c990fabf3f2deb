{{ config(severity='warn') }}

-- Warns about every problem in the declarations, in words, so that the remedy is on the screen too. It is not a failure:
-- a wrong row is left out, and everything else is built.
{%- if execute and flags.WHICH in ['build', 'test'] %}
{%- for row in run_query(declaration_problems_in_words()).rows %}
{#- A cell may hold what a terminal obeys: such a line is written as JSON. -#}
{%- do exceptions.warn(row[0] if row[0].isprintable() else tojson(row[0])) %}
{%- endfor %}
{%- endif %}

select problem from {{ ref('experiment_declaration_problems') }} where severity = 'problem'

union all

select problem from {{ ref('cohort_declaration_problems') }} where severity = 'problem'


