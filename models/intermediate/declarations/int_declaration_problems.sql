{{ config(materialized=kept_unless_checked()) }}

with columns as (

    -- What a cell of each column may hold.
    {% for name, declaration in declarations().items() -%}
    {%- set last_declaration = loop.last -%}
    {%- for column, rule in declaration.columns.items() -%}
    select
        '{{ name }}' as declaration,
        '{{ column }}' as column_name,
        '{{ rule.type }}' as type,
        {{ text_literal(rule.needed) if rule.needed else 'cast(null as string)' }} as needed,
        {{ text_literal(rule.must_be) if rule.must_be else 'cast(null as string)' }} as must_be,
        {{ text_literal(rule.remedy) if rule.remedy else 'cast(null as string)' }} as remedy
    {{ 'union all' if not (loop.last and last_declaration) }}
    {% endfor -%}
    {%- endfor %}
),

places as (

    -- Where each declaration was written.
    {% for name in declarations() -%}
    select '{{ name }}' as declaration, {{ text_literal(declared_in(name)) }} as declared_in
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

cells as (

    select * from {{ ref('int_declaration_cells') }}

),

numbers as (

    select
        cells.*,
        columns.type,
        columns.must_be,
        columns.remedy,
        {{ cell_number('cells.cell') }} as number
    from cells
    inner join columns
        on cells.declaration = columns.declaration and cells.column_name = columns.column_name

),

header_problems as (

    {{ header_problems() }}

),

empty_cells as (

    select
        rows.declaration,
        rows.row_number,
        columns.column_name,
        cast(null as string) as cell,
        columns.column_name || ' is empty' as problem,
        columns.needed as remedy
    from (select distinct declaration, row_number from cells) as rows
    inner join columns on rows.declaration = columns.declaration and columns.needed is not null
    left join cells as filled
        on
            rows.declaration = filled.declaration
            and rows.row_number = filled.row_number
            and columns.column_name = filled.column_name
    left join header_problems
        on
            columns.declaration = header_problems.declaration
            and (columns.column_name = header_problems.column_name or header_problems.column_name is null)
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
        type in ('number', 'whole')
        and (
            number is null
            or type = 'whole' and {{ cell_whole_number('cell') }} is null
            {%- for name, declaration in declarations().items() %}
            {%- for column, rule in declaration.columns.items() if rule.holds %}
            or declaration = '{{ name }}' and column_name = '{{ column }}' and not ({{ rule.holds }})
            {%- endfor %}
            {%- endfor %}
        )

),

unreadable_times as (

    select
        declaration,
        row_number,
        column_name,
        cell,
        column_name || ' must be a time in ISO 8601' as problem,
        'write 2026-09-01, 2026-09-01 12:00:00 (which is UTC) or 2026-09-01T12:00:00+02:00' as remedy
    from numbers
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
    from numbers
    where
        type = 'choice'
        and not {{ text_contains("' ' || replace(replace(must_be, ',', ''), ' or ', ' ') || ' '", "' ' || lower(cell) || ' '") }}

),

formulas as (

    select
        declaration,
        row_number,
        column_name,
        cell,
        column_name || ' is a formula, or the error of one' as problem,
        'write the value itself' as remedy
    from numbers
    where
        type = 'text'
        and {{ regex_matches('cell', '^=|^#(REF!|NAME[?]|VALUE!|DIV/0!|N/A|NULL!|NUM!)$') }}

),

weights as (

    select
        declaration,
        row_number,
        column_name,
        cell,
        {{ plain_weights('cell') }} as weights,
        {{ plain_weights("replace(replace(cell, ',', ';'), ':', '=')") }} as likely_weights
    from numbers
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
),

metrics as (
    {{ typed_rows('metrics') }}
),

links as (
    {{ typed_rows('experiment_metrics') }}
),

ends as (

    select
        'experiments' as declaration,
        experiments.row_number,
        'ended_at' as column_name,
        cells.cell,
        'ended_at is not after started_at' as problem,
        'leave it empty while the experiment runs' as remedy
    from experiments
    inner join cells
        on
            cells.declaration = 'experiments'
            and experiments.row_number = cells.row_number
            and cells.column_name = 'ended_at'
    where experiments.ended_at <= experiments.started_at

),

experiments_without_activation as (

    select
        'experiments' as declaration,
        row_number,
        'primary_population' as column_name,
        primary_population as cell,
        'the population activated needs activation_event' as problem,
        'name the event that shows that an identity met the feature, or leave primary_population empty for assigned' as remedy
    from experiments
    where primary_population = 'activated' and activation_event is null

),

ill_matched_metrics as (

    -- Settings that contradict the aggregation.
    select
        'metrics' as declaration,
        row_number,
        'denominator_event_name' as column_name,
        cast(null as string) as cell,
        'a ratio needs denominator_event_name' as problem,
        'name the event to divide by' as remedy
    from metrics
    where aggregation = 'ratio' and denominator_event_name is null

    union all

    select
        'metrics' as declaration,
        row_number,
        'before_days' as column_name,
        cast(before_days as string) as cell,
        'before_days is not available for a ratio' as problem,
        'leave it empty' as remedy
    from metrics
    where aggregation = 'ratio' and before_days is not null

    union all

    select
        'metrics' as declaration,
        row_number,
        'winsorise_percentile' as column_name,
        cast(winsorise_percentile as string) as cell,
        'winsorise_percentile is for count, sum and mean' as problem,
        'leave it empty' as remedy
    from metrics
    where aggregation in ('occurrence', 'ratio') and winsorise_percentile is not null

),

links_to_nothing as (

    select
        'experiment_metrics' as declaration,
        links.row_number,
        'experiment_key' as column_name,
        links.experiment_key as cell,
        'no experiment of this experiment_key is declared' as problem,
        coalesce('write `' || min(alike.experiment_key) || '`, as it is declared', 'declare it in experiments, or take the row out') as remedy
    from links
    left join experiments as alike on lower(links.experiment_key) = lower(alike.experiment_key)
    where
        not exists (select 1 from experiments where experiments.experiment_key = links.experiment_key)
        and links.experiment_key is not null
    group by links.row_number, links.experiment_key

    union all

    select
        'experiment_metrics' as declaration,
        links.row_number,
        'metric_key' as column_name,
        links.metric_key as cell,
        'no metric of this metric_key is declared' as problem,
        coalesce('write `' || min(alike.metric_key) || '`, as it is declared', 'declare it in metrics, or take the row out') as remedy
    from links
    left join metrics as alike on lower(links.metric_key) = lower(alike.metric_key)
    where
        not exists (select 1 from metrics where metrics.metric_key = links.metric_key)
        and links.metric_key is not null
    group by links.row_number, links.metric_key

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
        column_name || ' stands on more than one row' as problem,
        'keep one of them' as remedy
    from counted_keys
    where times > 1

),

unmapped_identities as (

    {{ identity_map_problems() }}

),

problems as (

    {% for name in [
        'empty_cells', 'unreadable_numbers', 'unreadable_times', 'unknown_choices', 'formulas', 'unreadable_weights',
        'contradictory_weights', 'ends', 'experiments_without_activation', 'ill_matched_metrics', 'links_to_nothing', 'repeated_keys', 'unmapped_identities',
    ] -%}
    select 'problem' as severity, declaration, row_number, column_name, cell, problem, remedy from {{ name }}
    union all
    {% endfor %}
    select severity, declaration, row_number, column_name, cell, problem, remedy from header_problems

    union all

    select severity, declaration, cast(row_number as bigint) as row_number, column_name, cell, problem, remedy
    from {{ clean_file('file_problems') or file_problems() }} as file_problems
    where declaration in ({% for name in declarations() if not var(name, none) %}'{{ name }}', {% endfor %}'')

    union all

    select
        'warning' as severity,
        declaration,
        row_number,
        column_name,
        cell,
        column_name || ' differs from that of another row only in capital letters' as problem,
        'write them alike if they are the same' as remedy
    from counted_keys
    where times_in_any_case > times

    union all

    select
        'warning' as severity,
        declaration,
        row_number,
        column_name,
        cell,
        column_name || ' has blanks around it' as problem,
        'take them out, unless Flagsmith sends them' as remedy
    from numbers
    where type = 'identity' and cell <> {{ cell_text('cell') }}

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

)

select
    problems.declaration,
    problems.severity,
    places.declared_in,
    problems.row_number,
    problems.column_name,

    max(case when keys.column_name = 'experiment_key' then keys.cell end) as experiment_key,
    max(case when keys.column_name = 'metric_key' then keys.cell end) as metric_key,
    problems.cell,
    problems.problem,
    problems.remedy
from problems
inner join places on problems.declaration = places.declaration
left join cells as keys on problems.declaration = keys.declaration and problems.row_number = keys.row_number
group by
    problems.declaration, problems.severity, places.declared_in, problems.row_number, problems.column_name, problems.cell,
    problems.problem, problems.remedy
