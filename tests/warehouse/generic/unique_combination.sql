{#- Fails with the rows of which several have the same values in `columns`, or a null in one: the columns are the
    grain. Those that are `nullable` too may hold a null, which is a value like any other. -#}
{% test unique_combination(model, columns, nullable=[]) %}
select
    {{ columns | join(', ') }},
    count(*) as occurrences
from {{ model }}
group by {{ columns | join(', ') }}
having
    count(*) > 1
    {%- for column in columns if column not in nullable %}
    or {{ column }} is null
    {%- endfor %}
{% endtest %}
