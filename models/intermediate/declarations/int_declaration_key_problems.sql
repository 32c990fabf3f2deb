{{ config(materialized=kept_unless_checked()) }}

with cells as (

    select * from {{ ref('int_declaration_cells') }}

),

keys as (

    -- The key of each row.
    {% for name, declaration in declarations().items() if name not in ['identity_map', 'test_identities'] -%}
    select
        '{{ name }}' as declaration,
        row_number,
        '{{ declaration.key | join(', ') }}' as column_name,
        {% for column in declaration.key -%}
        max(case when column_name = '{{ column }}' then cell end){{ " || ', ' || " if not loop.last }}
        {%- endfor %} as cell
    from cells
    where declaration = '{{ name }}'
    group by row_number
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

counted_keys as (

    select
        *,
        count(*) over (partition by declaration, cell) as times,
        count(*) over (partition by declaration, lower(cell)) as times_in_any_case
    from keys
    where cell is not null

),

repeated_keys as (

    select
        declaration,
        row_number,
        column_name,
        cell,
        column_name || ' occurs in several rows' as problem,
        'keep one of them' as remedy
    from counted_keys
    where times > 1

),

unmapped_identities as (

    {{ identity_map_problems() }}

)

{{ problems_of(['repeated_keys', 'unmapped_identities']) }}

union all

select
    'warning' as severity,
    declaration,
    row_number,
    column_name,
    cell,
    column_name || ' differs from that of another row only in capital letters' as problem,
    'write them alike if they mean the same' as remedy
from counted_keys
where times_in_any_case > times
