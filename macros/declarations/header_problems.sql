{#- Select: faults of a declaration as a whole: a relation that does not exist, a missing column, an unknown column. -#}
{% macro header_problems() %}
    {%- set found = [] -%}
    {%- for name, declaration in flagsmith_warehouse.declarations().items() -%}
        {%- set columns = flagsmith_warehouse.declared_columns(name) -%}
        {%- if columns is none -%}
            {%- do found.append(['problem', name, none, declared(name), 'the relation does not exist or cannot be read',
                'correct `vars: ' ~ name ~ ':`, create it, put back what it reads, or correct what fails in it']) -%}
        {#- Faults of a file that cannot be read are in file_problems. -#}
        {%- elif 'unreadable_file' not in columns -%}
            {%- for column, rule in declaration.columns.items() if rule.needed and column not in columns -%}
                {%- do found.append(['problem', name, column, none, 'the column ' ~ column ~ ' is missing',
                    'the columns are ' ~ declaration.columns | join(', ')]) -%}
            {%- endfor -%}
            {%- for column in columns if column not in declaration.columns -%}
                {%- do found.append(['warning', name, column, columns[column], 'unknown column `' ~ column ~ '`',
                    'the columns are ' ~ declaration.columns | join(', ')]) -%}
            {%- endfor -%}
        {%- endif -%}
    {%- endfor -%}
    {%- for severity, name, column, cell, problem, remedy in found or [['', '', '', '', '', '']] %}
    select
        '{{ severity }}' as severity,
        '{{ name }}' as declaration,
        cast({{ 'null' if var(name, none) else 1 }} as bigint) as row_number,
        cast({{ 'null' if column is none else text_literal(column) }} as string) as column_name,
        cast({{ 'null' if cell is none else text_literal(cell) }} as string) as cell,
        {{ text_literal(problem) }} as problem,
        {{ text_literal(remedy) }} as remedy
    {{ 'where 1 = 0' if not found }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
{% endmacro %}

{#- Select: the rows of identity_map that lack an identity or a user_id, or repeat an identity. The map can have a row for
    every customer, so its cells are not stored one by one. -#}
{% macro identity_map_problems() %}
    select
        'identity_map' as declaration,
        min(row_number) as row_number,
        case when identity is null or times > 1 then 'identity' else 'user_id' end as column_name,
        identity as cell,
        case
            when identity is null then 'identity is empty'
            when times > 1 then 'identity occurs in several rows'
            else 'user_id is empty'
        end as problem,
        case
            when identity is null then 'write the identity exactly as Flagsmith sends it'
            when times > 1 then 'keep one of them'
            else 'write what your company calls the same person or device'
        end as remedy
    from (
        select
            *,
            count(*) over (partition by identity) as times
        from ({{ declared_rows('identity_map') }}) as identity_map
    ) as counted
    where
        {{ 'true' if declared_columns('identity_map') is not none and 'identity' in declared_columns('identity_map') and 'user_id' in declared_columns('identity_map') else '1 = 0' }}
        and (identity is not null or user_id is not null)
        and (identity is null or user_id is null or times > 1)
    group by all
{% endmacro %}
