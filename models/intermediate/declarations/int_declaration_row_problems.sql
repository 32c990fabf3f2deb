{{ config(materialized=kept_unless_checked()) }}

{#- If the links cannot be read, that is the problem, and not everything that they would have named. -#}
{%- set link_columns = declared_columns('experiment_metrics') or {} %}

with cells as (

    select * from {{ ref('int_declaration_cells') }}

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
        'name the event that shows that an identity saw the feature, or leave primary_population empty for assigned' as remedy
    from experiments
    where primary_population = 'activated' and activation_event is null

),

ill_matched_metrics as (

    -- Settings that contradict the aggregation.
    {% for column, is_wrong, problem, remedy in [
        ('denominator_event_name', "aggregation = 'ratio' and denominator_event_name is null",
            'a ratio needs denominator_event_name', 'name the event to divide by'),
        ('quantile', "aggregation = 'quantile' and quantile is null",
            'the aggregation quantile needs quantile', 'write 0.5 for the median, or 0.9'),
        ('quantile', "aggregation <> 'quantile' and quantile is not null",
            'quantile is for the aggregation quantile', 'leave it empty, or write quantile as aggregation'),
        ('conversion_window_hours', "aggregation = 'hours_to_first' and conversion_window_hours is null",
            'hours_to_first needs conversion_window_hours', 'write within how many hours a first event counts, like 168'),
        ('before_days', "aggregation in ('ratio', 'days', 'hours_to_first', 'quantile') and before_days is not null",
            'before_days is for occurrence, count, sum and mean', 'leave it empty'),
        ('winsorise_percentile',
            "aggregation in ('occurrence', 'ratio', 'hours_to_first', 'quantile') and winsorise_percentile is not null",
            'winsorise_percentile is for count, sum, mean and days', 'leave it empty'),
        ('window_start_hours', 'window_start_hours >= conversion_window_hours',
            'window_start_hours is not before conversion_window_hours',
            'write the hours after the first evaluation between which outcomes count, like 168 and 336'),
    ] -%}
    select
        'metrics' as declaration,
        row_number,
        '{{ column }}' as column_name,
        cast({{ column }} as string) as cell,
        '{{ problem }}' as problem,
        '{{ remedy }}' as remedy
    from metrics
    where {{ is_wrong }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

links_to_nothing as (

    {% for kind, its in [('experiment', 'experiments'), ('metric', 'metrics')] -%}
    select
        'experiment_metrics' as declaration,
        links.row_number,
        '{{ kind }}_key' as column_name,
        links.{{ kind }}_key as cell,
        'no {{ kind }} of this {{ kind }}_key is declared' as problem,
        coalesce('write `' || min(alike.{{ kind }}_key) || '`, as it is declared', 'declare it in {{ its }}, or remove the row') as remedy
    from links
    left join {{ its }} as alike on lower(links.{{ kind }}_key) = lower(alike.{{ kind }}_key)
    where
        not exists (select 1 from {{ its }} where {{ its }}.{{ kind }}_key = links.{{ kind }}_key)
        and links.{{ kind }}_key is not null
    group by links.row_number, links.{{ kind }}_key
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

unlinked as (

    {% for kind, its, problem, remedy in [
        ('experiment', 'experiments', 'the experiment has no metric, so it has no results', 'name its metrics in experiment_metrics'),
        ('metric', 'metrics', 'no experiment has this metric, so it is not computed', 'add a row to experiment_metrics, or leave it for later'),
    ] -%}
    select
        '{{ its }}' as declaration,
        row_number,
        '{{ kind }}_key' as column_name,
        {{ kind }}_key as cell,
        '{{ problem }}' as problem,
        '{{ remedy }}' as remedy
    from {{ its }}
    where
        {{ kind }}_key is not null
        and {{ 'true' if 'experiment_key' in link_columns and 'metric_key' in link_columns else 'false' }}
        and not exists (select 1 from links where links.{{ kind }}_key = {{ its }}.{{ kind }}_key)
    {{ 'union all' if not loop.last }}
    {% endfor %}
)

{{ problems_of(['ends', 'experiments_without_activation', 'ill_matched_metrics', 'links_to_nothing']) }}

union all

select 'warning' as severity, declaration, row_number, column_name, cell, problem, remedy from unlinked
