{#- Whether any identity has a user_id in `identity_map`. If none has, the models of experiments do not join it, and cost what they
    cost without it. True while nothing is built. -#}
{% macro has_identity_map() %}
    {%- set identity_map = ref('int_declared_identity_map') -%}
    {%- if not is_built_now() -%}{{ return(true) }}{%- endif -%}
    {{ return(value_of('select count(*) from (select 1 as one from ' ~ identity_map ~ ' limit 1) as mapped') > 0) }}
{% endmacro %}
