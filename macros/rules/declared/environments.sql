{#- An SQL expression on `environment`: the client-side key or the name of that environment in Flagsmith. `of`: key or name.
    `vars: flagsmith_environments:` declares them, {route: {key:, name:}}. If no name is declared, it is the one in the
    route. -#}
{% macro flagsmith_environment(of, cohort=none, where=none) %}
    {%- set declared = var('flagsmith_environments', {}) or {} -%}
    {%- set whens = [] -%}
    {%- for environment, its in declared.items() if its.get(of) is not none -%}
        {%- do whens.append('when ' ~ text_literal(environment) ~ ' then ' ~ text_literal(its[of] | string)) -%}
    {%- endfor -%}
    {%- if of == 'key' and not whens -%}
        {{ flagsmith_warehouse.refuse_rule(cohort, where, "needs the environment's key",
            'Declare it in dbt_project.yml, vars: flagsmith_environments: {production: {key: <client-side key>}}.') }}
    {%- endif -%}
    {{ return('environment' if not whens else 'case environment ' ~ whens | join(' ') ~ (' else environment' if of == 'name' else '') ~ ' end') }}
{% endmacro %}
