{#- How int_experiment_outcomes counts only what can have changed.

    Events carry no time of arrival, so days within `var('experiment_late_days')` of the last counted day are counted anew:
    an outcome may arrive so late. Counted anew from the beginning are an identity that was assigned or whose
    first evaluation was found to be another one since (a webhook may be late), and every identity of an experiment whose declaration or metrics changed. -#}

{#- A relation of the experiments with what their outcomes depend on, as one text. -#}
{% macro outcome_declarations() %}
    (
        select
            experiments.experiment_key,
            concat(
                cast(experiments.started_at as varchar), '/', coalesce(cast(experiments.ended_at as varchar), ''), '/',
                coalesce(string_agg(
                    concat_ws(
                        '|', metrics.metric_key, metrics.event_name, coalesce(metrics.denominator_event_name, ''),
                        coalesce(cast(metrics.conversion_window_hours as varchar), ''),
                        coalesce(cast(metrics.before_days as varchar), '')
                    ), ';' order by metrics.metric_key
                ), '')
            ) as declared
        from {{ ref('dim_experiments') }} as experiments
        left join {{ ref('int_experiment_metrics') }} as metrics
            on experiments.experiment_key = metrics.experiment_key
        group by experiments.experiment_key, experiments.started_at, experiments.ended_at
    )
{% endmacro %}

{#- Pre-hook, inside the model's transaction: takes out what is to be counted anew. -#}
{% macro forget_changed_outcomes() %}
    {%- if execute and is_incremental() -%}
    delete from {{ this }}
    where (experiment_key, identity) not in (
        select known.experiment_key, known.identity
        from {{ this }} as known
        inner join {{ ref('fct_experiment_assignments') }} as assignments
            on
                known.experiment_key = assignments.experiment_key
                and known.identity = assignments.identity
                and known.first_exposed_at = assignments.first_exposed_at
        inner join {{ outcome_declarations() }} as declarations
            on known.experiment_key = declarations.experiment_key and known.declared = declarations.declared
        where known.metric_key is null
    );
    delete from {{ this }} as target
    where
        metric_key is not null
        and day >= (
            select max(day) - {{ var('experiment_late_days') }}
            from {{ this }} as last
            where last.experiment_key = target.experiment_key and last.metric_key is not null
        )
    {%- endif -%}
{% endmacro %}
