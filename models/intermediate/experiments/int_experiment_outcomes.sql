{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook="{{ forget_changed_outcomes() }}",
    meta={'built_from': ['int_deliveries']},
) }}

with needed as (

    -- Which events feed which metric, as its outcome or its denominator.
    select
        experiment_key,
        metric_key,
        event_name,
        'outcome' as part,
        conversion_window_hours,
        before_days
    from {{ ref('int_experiment_metrics') }}

    union all

    select
        experiment_key,
        metric_key,
        denominator_event_name as event_name,
        'denominator' as part,
        conversion_window_hours,
        null as before_days
    from {{ ref('int_experiment_metrics') }}
    where denominator_event_name is not null

),

assigned as (

    select
        assignments.experiment_key,
        assignments.identity,
        assignments.first_exposed_at,
        cast(assignments.first_exposed_at as date) as first_exposed_on,
        experiments.environment,
        experiments.ended_at,
        {%- if is_incremental() %}
        known.identity is not null as is_known,
        case
            when known.identity is not null then coalesce(counted.up_to + 1, date '0001-01-01') else date '0001-01-01'
        end as count_from
        {%- else %}
        false as is_known,
        date '0001-01-01' as count_from
        {%- endif %}
    from {{ ref('fct_experiment_assignments') }} as assignments
    inner join {{ ref('dim_experiments') }} as experiments
        on assignments.experiment_key = experiments.experiment_key
    {%- if is_incremental() %}
    left join {{ this }} as known
        on
            known.metric_key is null
            and assignments.experiment_key = known.experiment_key
            and assignments.identity = known.identity
    left join (
        select experiment_key, max(day) as up_to
        from {{ this }}
        where metric_key is not null
        group by experiment_key
    ) as counted
        on assignments.experiment_key = counted.experiment_key
    {%- endif %}

),

counted as (

    -- The clock of an outcome starts at the first evaluation. What came before it can only be used to tell
    -- identities apart, for the metrics that ask for that (before_days).
    select
        assigned.experiment_key,
        needed.metric_key,
        assigned.identity,
        assigned.first_exposed_at,
        greatest(cast(events.occurred_at as date), assigned.first_exposed_on) as day,
        case
            when events.occurred_at < assigned.first_exposed_at then 'before' else needed.part
        end as part,
        cast(events.value as double) as value
    from {{ conversion_events() }} as events
    inner join needed on events.event_name = needed.event_name
    inner join assigned
        on
            needed.experiment_key = assigned.experiment_key
            and events.identity = assigned.identity
            {%- if conversion_events_have_environment() %}
            and (events.environment = assigned.environment or events.environment is null)
            {%- endif %}
    where
        case
            when events.occurred_at >= assigned.first_exposed_at
            then (events.occurred_at < assigned.ended_at or assigned.ended_at is null)
                and (
                    needed.conversion_window_hours is null
                    or events.occurred_at
                    < {{ plus_hours('assigned.first_exposed_at', 'needed.conversion_window_hours') }}
                )
            else events.occurred_at >= {{ plus_hours('assigned.first_exposed_at', '(-24 * needed.before_days)') }}
        end
        and greatest(cast(events.occurred_at as date), assigned.first_exposed_on) >= assigned.count_from

)

select
    experiment_key,
    metric_key,
    identity,
    day,

    count(*) filter (where part = 'outcome') as outcome_count,
    coalesce(sum(value) filter (where part = 'outcome'), 0) as outcome_sum,
    count(value) filter (where part = 'outcome') as outcome_values,
    count(*) filter (where part = 'denominator') as denominator_count,
    coalesce(sum(value) filter (where part = 'denominator'), 0) as denominator_sum,
    count(*) filter (where part = 'before') as before_count,
    coalesce(sum(value) filter (where part = 'before'), 0) as before_sum,
    count(value) filter (where part = 'before') as before_values,

    first_exposed_at,
    cast(null as varchar) as declared
from counted
group by experiment_key, metric_key, identity, day, first_exposed_at

union all

-- One row without a metric for each assigned identity, with what it was counted by: what tells the next build whose
-- outcomes must be counted anew.
select
    assigned.experiment_key,
    null as metric_key,
    assigned.identity,
    assigned.first_exposed_on as day,
    0 as outcome_count,
    0 as outcome_sum,
    0 as outcome_values,
    0 as denominator_count,
    0 as denominator_sum,
    0 as before_count,
    0 as before_sum,
    0 as before_values,
    assigned.first_exposed_at,
    declarations.declared
from assigned
inner join {{ outcome_declarations() }} as declarations on assigned.experiment_key = declarations.experiment_key
where not assigned.is_known
