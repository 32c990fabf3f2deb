{#- An expression: how many there are, in words: `1 event`, `2,000 events`. -#}
{% macro counted(number, noun) %}
    {{ return(grouped_digits(number) ~ " || case when " ~ number ~ " = 1 then ' " ~ noun ~ "' else ' " ~ noun ~ "s' end") }}
{% endmacro %}
