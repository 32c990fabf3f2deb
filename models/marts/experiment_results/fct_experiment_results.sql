{{ config(materialized='table_in_place') }}

select
    series.experiment_key,
    series.metric_key,
    series.variation,
    series.population,

    series.population = experiments.primary_population as is_primary_population,
    series.role,
    verdicts.verdict,
    verdicts.verdict_reason,
    verdicts.guardrail_status,
    series.margin,
    verdicts.margin_verdict,
    verdicts.decision_method,
    series.status,
    series.cuped_status,

    series.identities_assigned as identities,
    series.identities as identities_matured,
    series.control_identities_assigned as control_identities,
    series.outcome_sum,
    series.outcome_sum_squares,
    series.denominator_sum,
    series.denominator_sum_squares,
    series.outcome_denominator_products,
    series.before_sum,
    series.before_sum_squares,
    series.outcome_before_products,
    series.mean,
    series.control_mean,
    series.cuped_theta,
    -- How much the assigned are diluted by those who never met the feature.
    cast(max(case when series.population = 'activated' then series.identities_assigned end) over arm as double)
    / nullif(max(case when series.population = 'assigned' then series.identities_assigned end) over arm, 0) as activated_share,

    verdicts.p_value_holm,
    verdicts.p_value_benjamini_hochberg,
    verdicts.comparisons,
    {%- for column in result_columns() %}
    series.{{ column }},
    {%- endfor %}

    series.flagsmith_status,
    series.flagsmith_lift,
    series.flagsmith_standard_error,
    series.flagsmith_low,
    series.flagsmith_high,
    series.flagsmith_chance_to_win,

    series.day as last_day
from {{ ref('int_experiment_series') }} as series
inner join {{ ref('int_experiment_verdicts') }} as verdicts
    on
        series.experiment_key = verdicts.experiment_key
        and series.metric_key = verdicts.metric_key
        and series.variation = verdicts.variation
        and series.population = verdicts.population
        and series.day is not distinct from verdicts.day
inner join {{ ref('int_experiments') }} as experiments on series.experiment_key = experiments.experiment_key
where series.dimension is null
window arm as (partition by series.experiment_key, series.metric_key, series.variation)
