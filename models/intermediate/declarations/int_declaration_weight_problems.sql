{{ config(materialized=kept_unless_checked()) }}

with weights as (

    select
        declaration,
        row_number,
        column_name,
        cell,
        {{ plain_weights('cell') }} as weights,
        {{ plain_weights("replace(replace(cell, ',', ';'), ':', '=')") }} as likely_weights
    from {{ ref('int_declaration_cells') }}
    where type = 'weights' and lower(cell) <> 'auto'

),

unreadable_weights as (

    select
        declaration,
        row_number,
        column_name,
        cell,
        column_name || ' must be `auto` or name each variation with its weight, 0 or more' as problem,
        'write ' || case
            when {{ regex_matches('likely_weights', weights_pattern()) }} then '`' || likely_weights || '`'
            else 'name=number, with `;` between them, like `control=50;blue=50`'
        end as remedy
    from weights
    where not {{ regex_matches('weights', weights_pattern()) }}

),

parts as (

    select
        declaration,
        row_number,
        column_name,
        cell,
        {{ text_parts('weights', ';') }} as part
    from weights
    where {{ regex_matches('weights', weights_pattern()) }}

),

named_weights as (

    select
        *,
        {{ regex_group('part', '(?s)^(.*)=[^=]*$', 1) }} as variation,
        cast({{ regex_group('part', '[^=]*$', 0) }} as double) as weight
    from parts

),

contradictory_weights as (

    select
        declaration,
        row_number,
        column_name,
        cell,
        case
            when sum(weight) > 0 and sum(weight) < 1e300
                then column_name || ' names a variation twice' else column_name || ' adds up to nothing'
        end as problem,
        'give each variation one weight, like `control=50;blue=50`' as remedy
    from named_weights
    group by declaration, row_number, column_name, cell
    having count(*) > count(distinct variation) or sum(weight) <= 0 or sum(weight) >= 1e300

),

experiments as (
    {{ typed_rows('experiments') }}
)

{{ problems_of(['unreadable_weights', 'contradictory_weights']) }}

union all

select
    'warning' as severity,
    named_weights.declaration,
    named_weights.row_number,
    named_weights.column_name,
    named_weights.cell,
    'expected_weights does not name control_variation' as problem,
    'add `' || experiments.control_variation || '=` and its weight' as remedy
from named_weights
inner join experiments on named_weights.row_number = experiments.row_number
group by
    named_weights.declaration, named_weights.row_number, named_weights.column_name, named_weights.cell,
    experiments.control_variation
having count(*) filter (where named_weights.variation = experiments.control_variation) = 0
