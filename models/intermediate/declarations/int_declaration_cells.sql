{{ config(materialized=kept_unless_checked()) }}

with
{%- for name in declarations() if name != 'identity_map' %}
{{ name }}_rows as {{ evaluated_once() }} (
    {{ declared_rows(name) }}
){{ ',' if not loop.last }}
{%- endfor %}

{% for name, declaration in declarations().items() if name != 'identity_map' -%}
{%- set last_declaration = loop.last -%}
{%- for column, rule in declaration.columns.items() -%}
select
    '{{ name }}' as declaration,
    row_number,
    '{{ column }}' as column_name,
    {{ column }} as cell,
    '{{ rule.type }}' as type,
    {{ text_literal(rule.must_be) if rule.must_be else 'cast(null as string)' }} as must_be,
    {{ text_literal(rule.remedy) if rule.remedy else 'cast(null as string)' }} as remedy
from {{ name }}_rows
where {{ column }} is not null
{{ 'union all' if not (loop.last and last_declaration) }}
{% endfor -%}
{%- endfor -%}
