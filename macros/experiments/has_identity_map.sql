{#- Whether any identity has a user_id in `identity_map`. If none has, the models of experiments do not join it, and cost what they
    cost without it. True while nothing is built. -#}
{% macro has_identity_map() %}
    {%- set identity_map = ref('int_declared_identity_map') -%}
    {%- if not is_built_now() -%}{{ return(true) }}{%- endif -%}
    {{ return(value_of('select count(*) from (select 1 as one from ' ~ identity_map ~ ' limit 1) as mapped') > 0) }}
{% endmacro %}

{#- Select: the people who are testers. Whoever has a test identity is a tester with every other identity, too. -#}
{% macro test_users() %}
    {%- set is_mapped = has_identity_map() %}
    select distinct
        nullif(tests.environment, '') as environment,
        {{ 'coalesce(users.user_id, tests.identity)' if is_mapped else 'tests.identity' }} as identity
    from {{ ref('int_declared_test_identities') }} as tests
    {%- if is_mapped %}
    left join {{ ref('int_declared_identity_map') }} as users on tests.identity = users.identity
    {%- endif %}
{%- endmacro %}
