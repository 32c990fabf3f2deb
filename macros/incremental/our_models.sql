{#- The models of this package, as the nodes of dbt's graph: a host project may have others. -#}
{% macro our_models() %}
    {{ return(graph.nodes.values() | selectattr('resource_type', 'equalto', 'model')
        | selectattr('package_name', 'equalto', 'flagsmith_warehouse') | list) }}
{% endmacro %}
