{#- Hours, as a literal, between the first and the last of Flagsmith's workers to learn of a change: a minute. -#}
{% macro spread_hours() %}{{ return((60 / 3600) ~ 'e0') }}{% endmacro %}
