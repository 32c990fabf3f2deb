{#- In this package `ref('metrics')` is our own: dbt would take a model of that name in the project that has installed us first. -#}
{% macro ref(package_or_name, name=none) %}
    {%- if name is none -%}{{ return(builtins.ref('flagsmith_warehouse', package_or_name, **kwargs)) }}{%- endif -%}
    {{ return(builtins.ref(package_or_name, name, **kwargs)) }}
{% endmacro %}
