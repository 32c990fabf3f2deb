{{ config(materialized='table') }}

with latest as (

    select *
    from {{ ref('fct_experiment_results_daily') }}
    qualify row_number() over (
        partition by experiment_key, metric_key, variation, population order by day desc
    ) = 1

),

trust as (

    -- The first alarm that makes a comparison worthless, whatever it says.
    select experiment_key, min(message) as message
    from {{ ref('fct_experiment_health') }}
    where status = 'alarm' and spoils_results
    group by experiment_key

),

decided as (

    select
        latest.*,
        experiments.alpha,
        experiments.decision_method,
        metrics.minimum_sample,
        metrics.aggregation,
        metrics.is_lower_better,
        control.outcome_sum as control_outcome_sum,
        trust.message as distrust,
        -- The adjusted comparison where it was asked for and could be made.
        {%- for column in ['lift', 'p_value', 'sequential_p_value', 'chance_to_win'] %}
        case
            when latest.cuped_status = 'ok' then latest.cuped_relative_{{ column }} else latest.relative_{{ column }}
        end as decision_{{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    from latest
    inner join {{ ref('int_experiments') }} as experiments on latest.experiment_key = experiments.experiment_key
    inner join {{ ref('int_experiment_metrics') }} as metrics
        on latest.experiment_key = metrics.experiment_key and latest.metric_key = metrics.metric_key
    left join latest as control
        on
            latest.experiment_key = control.experiment_key
            and latest.metric_key = control.metric_key
            and latest.population = control.population
            and experiments.control_variation = control.variation
    left join trust on latest.experiment_key = trust.experiment_key

),

ranked as (

    -- The family of comparisons: all of an experiment and population that are not guardrails, which each stand alone.
    select
        *,
        role <> 'guardrail' and decision_p_value is not null as is_in_family,
        count(decision_p_value) over family as comparisons,
        row_number() over (
            partition by experiment_key, population, role <> 'guardrail' and decision_p_value is not null
            order by decision_p_value, metric_key, variation
        ) as comparison_rank
    from decided
    window family as (
        partition by experiment_key, population, role <> 'guardrail' and decision_p_value is not null
    )

),

corrected as (

    select
        *,
        case
            when is_in_family then least(1e0, max((comparisons - comparison_rank + 1) * decision_p_value) over (
                partition by experiment_key, population, is_in_family
                order by comparison_rank
                rows between unbounded preceding and current row
            ))
        end as p_value_holm,
        case
            when is_in_family then least(1e0, min(comparisons * decision_p_value / comparison_rank) over (
                partition by experiment_key, population, is_in_family
                order by comparison_rank
                rows between current row and unbounded following
            ))
        end as p_value_benjamini_hochberg
    from ranked

),

measured as (

    select
        *,
        case
            when decision_method = 'flagsmith' then flagsmith_chance_to_win else decision_chance_to_win
        end as decided_chance,
        case
            when decision_method = 'sequential' then decision_sequential_p_value
            else coalesce(p_value_holm, decision_p_value)
        end as decided_p_value,
        (decision_lift > 0) = (not is_lower_better) as is_better
    from corrected

),

verdicts as (

    select
        *,
        case
            when status = 'control' then 'control'
            when distrust is not null then 'do_not_trust'
            when
                status in (
                    'not_started', 'no_control_identities', 'no_identities', 'too_few_identities', 'zero_variance'
                )
                or identities < minimum_sample or control_identities < minimum_sample
                or (aggregation = 'occurrence' and (outcome_sum < 5 or control_outcome_sum < 5))
                or (decision_method = 'flagsmith' and flagsmith_status in ('fewer_than_50_identities', 'fewer_than_5_conversions'))
                then 'collecting_data'
            when control_mean <= 0 or control_mean is null then 'inconclusive'
            when decision_method in ('flagsmith', 'bayesian') then
                case
                    -- Sums that others made may hold a NaN, which is greater than everything.
                    when decided_chance > 1 - alpha and decided_chance <= 1 then 'winning'
                    when decided_chance < alpha then 'losing'
                    else 'inconclusive'
                end
            when decided_p_value < alpha and is_better then 'winning'
            when decided_p_value < alpha then 'losing'
            else 'inconclusive'
        end as verdict
    from measured

)

select
    experiment_key,
    metric_key,
    variation,
    population,

    role,
    verdict,
    case
        when status = 'control' then 'Every other variation is compared with this one.'
        when distrust is not null then distrust
        when status = 'not_started' then 'The experiment has not begun: nothing was received since started_at.'
        when status = 'no_control_identities' then 'Nobody was assigned to control, so there is nothing to compare with.'
        when status = 'no_identities' then 'Nobody was assigned to this variation yet.'
        when status = 'too_few_identities' then 'One identity has no variance: two are needed in each arm to compare.'
        when status = 'zero_variance' then 'Every identity of an arm has the same outcome, so its spread is unknown.'
        when identities < minimum_sample or control_identities < minimum_sample
            then 'An arm has fewer identities than the ' || cast(minimum_sample as varchar) || ' asked for.'
        when aggregation = 'occurrence' and (outcome_sum < 5 or control_outcome_sum < 5)
            then 'An arm has fewer than 5 conversions.'
        when control_mean <= 0 or control_mean is null
            then 'The mean of control is not above 0, so a relative lift means nothing: read the absolute columns.'
        when decision_method in ('flagsmith', 'bayesian')
            then 'Chance to win ' || cast(round(100 * decided_chance, 2) as varchar) || ' %, decided above '
                || cast(round(100 * (1 - alpha), 2) as varchar) || ' % or below ' || cast(round(100 * alpha, 2) as varchar)
                || ' % (' || decision_method || ').'
        else 'p = ' || cast(round(decided_p_value, 6) as varchar) || ', decided below ' || cast(alpha as varchar)
            || ' (' || decision_method || ').'
    end as verdict_reason,
    case
        when role <> 'guardrail' then 'not_a_guardrail'
        when verdict = 'losing' then 'harmed'
        when verdict in ('winning', 'inconclusive') then 'no_harm_shown'
        else verdict
    end as guardrail_status,
    decision_method,
    status,
    cuped_status,

    identities,
    control_identities,
    outcome_sum,
    outcome_sum_squares,
    denominator_sum,
    denominator_sum_squares,
    outcome_denominator_products,
    before_sum,
    before_sum_squares,
    outcome_before_products,
    mean,
    control_mean,
    cuped_theta,
    -- How much the assigned are diluted by those who never met the feature.
    cast(
        max(identities) filter (where population = 'activated') over arm as double
    ) / nullif(max(identities) filter (where population = 'assigned') over arm, 0) as activated_share,

    p_value_holm,
    p_value_benjamini_hochberg,
    case when is_in_family then comparisons end as comparisons,
    {%- for column in result_columns() %}
    {{ column }},
    {%- endfor %}

    flagsmith_status,
    flagsmith_lift,
    flagsmith_standard_error,
    flagsmith_low,
    flagsmith_high,
    flagsmith_chance_to_win,

    day as last_day
from verdicts
window arm as (partition by experiment_key, metric_key, variation)
