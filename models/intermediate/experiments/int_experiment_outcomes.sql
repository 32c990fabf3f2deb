{{ config(
    pre_hook="{{ forget_changed_outcomes() }}",
    meta={'built_from': ['int_deliveries']},
) }}

{%- set number_of = outcome_parts() %}

with metrics as (

    select
        metrics.*,
        {%- if builds_on_itself() %}
        known.measure_number is not null as is_known,
        coalesce(
            known.measure_number,
            (select coalesce(max(measure_number - measure_number % 8), 0) from {{ this }})
            + 8 * row_number() over (order by metrics.experiment_key, metrics.metric_key)
        ) as metric_number,
        coalesce(counted.up_to + 1, date '0001-01-01') as count_from
        {%- else %}
        false as is_known,
        8 * row_number() over (order by metrics.experiment_key, metrics.metric_key) as metric_number,
        date '0001-01-01' as count_from
        {%- endif %}
    from {{ metrics_to_count() }} as metrics
    {%- if builds_on_itself() %}
    left join {{ this }} as known
        on
            known.identity_number is null
            and metrics.experiment_key = known.experiment_key
            and metrics.metric_key = known.metric_key
    left join {{ counted_up_to() }} as counted on known.measure_number = counted.metric_number
    {%- endif %}

),

assigned as {{ evaluated_once() }} (

    select
        assignments.experiment_key,
        assignments.identity,
        {%- if builds_on_itself() %}
        known.identity_number is not null as is_known,
        coalesce(
            known.identity_number, (select coalesce(max(identity_number), 0) from {{ this }}) + row_number() over ()
        ) as identity_number,
        {%- else %}
        false as is_known,
        row_number() over () as identity_number,
        {%- endif %}
        assignments.first_exposed_at,
        cast(assignments.first_exposed_at as date) as first_exposed_on
    from {{ ref('fct_experiment_assignments') }} as assignments
    {%- if builds_on_itself() %}
    left join {{ this }} as known
        on
            known.measure_number is null
            and assignments.experiment_key = known.experiment_key
            and assignments.identity = known.identity
    {%- endif %}

),

measured as (

    -- Few metrics, many identities: to find an event's metrics first keeps the other join from being made for each
    -- identity and metric (10,000,000 events: 1.5 s instead of 4). A union is what DuckDB does not reorder joins across.
    {% for part, event_name, is_counting in [
        ('outcome', 'event_name', 'counts_outcomes'), ('denominator', 'denominator_event_name', 'counts_denominators'),
    ] -%}
    select
        metrics.experiment_key,
        metrics.metric_number,
        metrics.conversion_window_hours,
        {{ 'metrics.before_days' if part == 'outcome' else 'cast(null as double) as before_days' }},
        {{ 'true' if part == 'outcome' else 'false' }} as is_outcome,
        metrics.is_known,
        metrics.count_from,
        events.identity,
        events.occurred_at,
        events.occurred_at >= metrics.started_at as is_within,
        case when metrics.{{ is_counting }} then 1e0 else cast(events.value as double) end as value
    from {{ conversion_events() }} as events
    inner join metrics on events.event_name = metrics.{{ event_name }}
    where
        (events.occurred_at < metrics.ended_at or metrics.ended_at is null)
        {%- if conversion_events_have_environment() %}
        and (events.environment = metrics.environment or events.environment is null)
        {%- endif %}
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

met as (

    -- The clock of an outcome starts at the first evaluation. What came before it can only be used to tell identities
    -- apart, for the metrics that ask for that (before_days).
    select
        assigned.identity_number,
        measured.metric_number,
        case
            when measured.occurred_at < assigned.first_exposed_at
                then case
                    when
                        measured.before_days is not null
                        and measured.occurred_at
                        >= {{ plus_hours('assigned.first_exposed_at', '(-24 * measured.before_days)') }}
                        then case when measured.is_within then {{ number_of.before }} else {{ number_of.before_start }} end
                    when measured.is_within and measured.is_outcome then {{ number_of.too_early }}
                end
            when
                measured.conversion_window_hours is null
                or measured.occurred_at
                < {{ plus_hours('assigned.first_exposed_at', 'measured.conversion_window_hours') }}
                then case when measured.is_outcome then {{ number_of.outcome }} else {{ number_of.denominator }} end
            when measured.is_outcome then {{ number_of.too_late }}
        end as part_number,
        greatest(cast(measured.occurred_at as date), assigned.first_exposed_on) as day,
        measured.value,
        measured.count_from,
        assigned.is_known and measured.is_known as is_known
    from measured
    inner join assigned on measured.experiment_key = assigned.experiment_key and measured.identity = assigned.identity

)

select
    cast(null as varchar) as experiment_key,
    cast(null as varchar) as metric_key,
    cast(null as varchar) as identity,
    cast(null as varchar) as counted_by,

    cast(identity_number as integer) as identity_number,
    cast(metric_number + part_number as integer) as measure_number,
    value,
    day
from met
where part_number is not null and (not is_known or day >= count_from)

union all

-- One row for each assigned identity and one for each metric, with what they were counted by: what tells the next build
-- which must be counted anew.
select
    experiment_key,
    null as metric_key,
    identity,
    cast(first_exposed_at as varchar) as counted_by,
    cast(identity_number as integer) as identity_number,
    null as measure_number,
    null as value,
    null as day
from assigned
where not is_known

union all

select
    experiment_key,
    metric_key,
    null as identity,
    counted_by,
    null as identity_number,
    cast(metric_number as integer) as measure_number,
    null as value,
    null as day
from metrics
where not is_known
