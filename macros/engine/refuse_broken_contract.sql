{#- Refuses the table or view that was just built for the current model if its columns are not those of the model's contract. dbt does so
    itself in its own materialisations only, by planning the query once more; here the table or view is asked, in the same
    transaction, so that the old one stands. -#}
{% macro refuse_broken_contract(relation) %}
    {%- if config.get('contract').enforced -%}
        {{ return(adapter.dispatch('refuse_broken_contract', 'flagsmith_warehouse')(relation)) }}
    {%- endif -%}
{% endmacro %}

{% macro default__refuse_broken_contract(relation) %}{% endmacro %}

{% macro duckdb__refuse_broken_contract(relation) %}
    {%- set promised, found, problems = {}, {}, [] -%}
    {%- for name, column in model.columns.items() -%}{%- do promised.update({name: column.data_type | upper}) -%}{%- endfor -%}
    {%- for row in run_query('describe ' ~ relation) -%}{%- do found.update({row[0]: row[1] | upper}) -%}{%- endfor -%}
    {%- for name in (promised.keys() | list + found.keys() | list) | unique if promised.get(name) != found.get(name) -%}
        {%- do problems.append(name ~ ' is ' ~ found.get(name, 'missing') ~ ', and not ' ~ promised.get(name, 'in the contract')) -%}
    {%- endfor -%}
    {%- if problems -%}
        {%- do exceptions.raise_compiler_error(model.name ~ ' breaks its contract, so it stays as it was: ' ~ problems | join('; ')) -%}
    {%- endif -%}
{% endmacro %}
