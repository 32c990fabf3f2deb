{#- An expression: how many there are, in words: `1 event`, `2 events`. -#}
{% macro counted(number, noun) %}
    {{ return("cast(" ~ number ~ " as string) || case when " ~ number ~ " = 1 then ' " ~ noun ~ "' else ' " ~ noun ~ "s' end") }}
{% endmacro %}
