{#- Names of the incremental models that the current model reads, in alphabetical order: directly, or through views and
    tables. The current model's progress is never further than theirs. -#}
{% macro increments_read() %}
    {%- set names = [] -%}
    {%- set seen = [] -%}
    {%- set unseen = model.depends_on.nodes | list -%}
    {%- for _ in graph.nodes if unseen -%}
        {%- set id = unseen.pop() -%}
        {%- set node = graph.nodes.get(id) -%}
        {%- if id not in seen and node and node.resource_type == 'model' -%}
            {%- do seen.append(id) -%}
            {%- if flagsmith_warehouse.is_an_increment(node) -%}
                {%- do names.append(node.name) -%}
            {%- else -%}
                {%- do unseen.extend(node.depends_on.nodes) -%}
            {%- endif -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(names | sort) }}
{% endmacro %}

{% macro is_an_increment(node) %}
    {{ return(node.config.materialized == 'increment') }}
{% endmacro %}

{#- Relations of the declarations that the current model refers to. If one changes, the model is built in full. (Models of
    experiments read declarations through other models, and find out for themselves what has changed.) -#}
{% macro declarations_read() %}
    {%- set relations = [] -%}
    {%- for id in model.depends_on.nodes | sort -%}
        {%- set node = graph.nodes.get(id) -%}
        {%- if node and 'declarations' in node.fqn -%}
            {%- do relations.append(api.Relation.create(database=node.database, schema=node.schema, identifier=node.alias)) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(relations) }}
{% endmacro %}
