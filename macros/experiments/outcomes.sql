{#- How int_experiment_outcomes counts only what can have changed.

    Events carry no time of arrival, so days within `var('experiment_late_days')` of the last counted day are counted anew:
    an outcome may arrive so late. Counted anew from the beginning are an identity that was assigned or whose
    first evaluation was found to be another one since (a webhook may be late), and a metric whose declaration, or whose
    experiment's, changed.

    An event's row is four numbers, since there are millions: the names stand once, in the rows of the identities and
    metrics (10,000,000 events: 1 s to write instead of 4, where names, clocks and flags are empty columns beside them). -#}

{#- What an event can be to a metric, and what that adds to the metric's number:
      outcome, denominator  it counts
      before                it came before the first evaluation, and the metric asks for that (before_days)
      before_start          the same, and even before the experiment began
      too_early, too_late   it does not count, as it came before the first evaluation or after the conversion window -#}
{% macro outcome_parts() %}
    {{ return({'outcome': 0, 'denominator': 1, 'before': 2, 'before_start': 3, 'too_early': 4, 'too_late': 5}) }}
{% endmacro %}

{#- A relation of the metrics with all that their outcomes depend on, as one text too. -#}
{% macro metrics_to_count() %}
    (
        select
            metrics.experiment_key,
            metrics.metric_key,
            metrics.event_name,
            metrics.aggregation in ('occurrence', 'count')
            or (metrics.aggregation = 'ratio' and metrics.numerator_aggregation = 'count') as counts_outcomes,
            metrics.denominator_event_name,
            metrics.denominator_aggregation = 'count' as counts_denominators,
            metrics.conversion_window_hours,
            metrics.before_days,
            experiments.environment,
            experiments.started_at,
            experiments.ended_at,
            concat_ws(
                '|', experiments.environment, cast(experiments.started_at as varchar),
                coalesce(cast(experiments.ended_at as varchar), ''),
                metrics.event_name, metrics.aggregation, metrics.numerator_aggregation,
                coalesce(metrics.denominator_event_name, ''), metrics.denominator_aggregation,
                coalesce(cast(metrics.conversion_window_hours as varchar), ''),
                coalesce(cast(metrics.before_days as varchar), '')
            ) as counted_by
        from {{ ref('int_experiment_metrics') }} as metrics
        inner join {{ ref('dim_experiments') }} as experiments on metrics.experiment_key = experiments.experiment_key
    )
{% endmacro %}

{#- Pre-hook, inside the model's transaction: takes out what is to be counted anew. -#}
{% macro forget_changed_outcomes() %}
    {%- if builds_on_itself() -%}
    delete from {{ this }}
    where identity_number is not null and identity_number not in (
        select known.identity_number
        from {{ this }} as known
        inner join {{ ref('fct_experiment_assignments') }} as assignments
            on
                known.experiment_key = assignments.experiment_key
                and known.identity = assignments.identity
                and known.counted_by = cast(assignments.first_exposed_at as varchar)
        where known.measure_number is null
    );
    delete from {{ this }}
    where measure_number is not null and measure_number - measure_number % 8 not in (
        select known.measure_number
        from {{ this }} as known
        inner join {{ metrics_to_count() }} as metrics
            on
                known.experiment_key = metrics.experiment_key
                and known.metric_key = metrics.metric_key
                and known.counted_by = metrics.counted_by
        where known.identity_number is null
    );
    delete from {{ this }} as target
    using {{ counted_up_to() }} as counted
    where
        target.measure_number - target.measure_number % 8 = counted.metric_number
        and target.day >= counted.up_to - {{ var('experiment_late_days') }}
    {%- endif -%}
{% endmacro %}

{#- A relation of the metrics that were counted before, with the last day on which their experiment has anything. -#}
{% macro counted_up_to() %}
    (
        select
            metric_number,
            max(last_day) over (partition by experiment_key) as up_to
        from (
            select
                metrics.experiment_key,
                metrics.measure_number as metric_number,
                max(outcomes.day) as last_day
            from {{ this }} as metrics
            left join {{ this }} as outcomes
                on metrics.measure_number = outcomes.measure_number - outcomes.measure_number % 8
            where metrics.identity_number is null
            group by metrics.experiment_key, metrics.measure_number
        ) as last_days
    )
{% endmacro %}
