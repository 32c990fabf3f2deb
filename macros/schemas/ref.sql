{#- In this package `ref('metrics')` always means our own model. dbt would prefer a model of that name in the installing project. -#}
{% macro ref(package_or_name, name=none) %}
    {%- if name is none -%}{{ return(builtins.ref('flagsmith_warehouse', package_or_name, **kwargs)) }}{%- endif -%}
    {{ return(builtins.ref(package_or_name, name, **kwargs)) }}
{% endmacro %}
