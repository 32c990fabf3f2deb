{{ config(materialized=kept_unless_checked()) }}

{%- set needed = [] %}
{%- for name, declaration in declarations().items() %}
{%- for column, rule in declaration.columns.items() if rule.needed %}
{%- do needed.append("select '" ~ name ~ "' as declaration, '" ~ column ~ "' as column_name, " ~ text_literal(rule.needed) ~ ' as needed') %}
{%- endfor %}
{%- endfor %}

with cells as (

    select * from {{ ref('int_declaration_cells') }}

),

needed_columns as (

    -- The columns that every row must fill.
    {{ needed | join('\n    union all\n    ') }}

),

numbers as (

    select *, {{ cell_number('cell') }} as number
    from cells
    where type in ('number', 'whole')

),

header_problems as (

    {{ header_problems() }}

),

empty_cells as (

    select
        rows.declaration,
        rows.row_number,
        needed_columns.column_name,
        cast(null as string) as cell,
        needed_columns.column_name || ' is empty' as problem,
        needed_columns.needed as remedy
    from (select distinct declaration, row_number from cells) as rows
    inner join needed_columns on rows.declaration = needed_columns.declaration
    left join cells as filled
        on
            rows.declaration = filled.declaration
            and rows.row_number = filled.row_number
            and needed_columns.column_name = filled.column_name
    left join header_problems
        on
            needed_columns.declaration = header_problems.declaration
            and (needed_columns.column_name = header_problems.column_name or header_problems.column_name is null)
            and header_problems.severity = 'problem'
    where filled.cell is null and header_problems.declaration is null

),

unreadable_numbers as (

    select
        declaration,
        row_number,
        column_name,
        cell,
        column_name || ' must be ' || must_be as problem,
        case
            when number is null and cell like '%|%%' escape '|' then 'write a share without a per cent sign, like 0.05; '
            when number is null and {{ text_contains('cell', "','") }} then 'write a point for decimals and nothing between thousands; '
            else ''
        end || remedy as remedy
    from numbers
    where
        number is null
        or type = 'whole' and {{ cell_whole_number('cell') }} is null
        {%- for name, declaration in declarations().items() %}
        {%- for column, rule in declaration.columns.items() if rule.holds %}
        or declaration = '{{ name }}' and column_name = '{{ column }}' and not ({{ rule.holds }})
        {%- endfor %}
        {%- endfor %}

),

unreadable_times as (

    select
        declaration,
        row_number,
        column_name,
        cell,
        column_name || ' must be a time in ISO 8601' as problem,
        'write 2026-09-01, 2026-09-01 12:00:00 (which is UTC) or 2026-09-01T12:00:00+02:00' as remedy
    from cells
    where type = 'time' and {{ utc_timestamp('cell') }} is null

),

unknown_choices as (

    select
        declaration,
        row_number,
        column_name,
        cell,
        column_name || ' must be ' || must_be as problem,
        remedy
    from cells
    where
        case type
            when 'choice'
                then not {{ text_contains("' ' || replace(replace(must_be, ',', ''), ' or ', ' ') || ' '", "' ' || lower(cell) || ' '") }}
            when 'breakdowns' then not {{ regex_matches('cell', breakdowns_pattern()) }}
            else false
        end

),

formulas as (

    select
        declaration,
        row_number,
        column_name,
        cell,
        column_name || ' is a formula, or the error of one' as problem,
        'write the value itself' as remedy
    from cells
    where
        type = 'text'
        and {{ regex_matches('cell', '^=|^#(REF!|NAME[?]|VALUE!|DIV/0!|N/A|NULL!|NUM!)$') }}

)

{{ problems_of(['empty_cells', 'unreadable_numbers', 'unreadable_times', 'unknown_choices', 'formulas']) }}

union all

select severity, declaration, row_number, column_name, cell, problem, remedy from header_problems

union all

select
    'warning' as severity,
    declaration,
    row_number,
    column_name,
    cell,
    column_name || ' has blanks around it' as problem,
    'take them out, unless Flagsmith sends them' as remedy
from cells
where type = 'identity' and cell <> {{ cell_text('cell') }}
