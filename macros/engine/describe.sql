{#- Writes the descriptions of the model in hand and of its columns beside its relation, if `persist_docs` says so; of these columns
    only, where they are named. -#}
{% macro describe(relation, columns=none) %}{{ return(adapter.dispatch('describe', 'flagsmith_warehouse')(relation, columns)) }}{% endmacro %}

{% macro default__describe(relation, columns) %}{%- do persist_docs(relation, model) -%}{% endmacro %}

{#- The texts are quoted here, not by text_literal: 2,000 calls of a macro are 4 % of a small build. -#}
{% macro duckdb__describe(relation, columns) %}
    {%- set comments = [] -%}
    {%- if config.persist_relation_docs() and model.description -%}
        {%- do comments.append('comment on ' ~ relation.type ~ ' ' ~ relation ~ " is '" ~ model.description.replace("'", "''") ~ "'") -%}
    {%- endif -%}
    {%- if config.persist_column_docs() -%}
        {%- for name, column in model.columns.items() if columns is none or name in columns -%}
            {%- do comments.append(
                'comment on column ' ~ relation ~ '.' ~ adapter.quote(name) ~ " is '" ~ column.description.replace("'", "''") ~ "'"
            ) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- if comments -%}{%- call statement('descriptions') -%}{{ comments | join(';\n') }}{%- endcall -%}{%- endif -%}
{% endmacro %}

{#- Each comment would be a commit of the table, and a Hive metastore takes 256 characters. `dbt docs` has the descriptions. -#}
{% macro spark__describe(relation, columns) %}{{ return('') }}{% endmacro %}
