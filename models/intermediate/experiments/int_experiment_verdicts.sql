{{ config(materialized='table_in_place') }}

with ranked as (

    -- The family of comparisons: all of an experiment and population that are not guardrails, which each stand alone.
    select
        *,
        role <> 'guardrail' and p_value is not null as is_in_family,
        count(p_value) over family as comparisons,
        row_number() over (
            partition by experiment_key, population, role <> 'guardrail' and p_value is not null
            order by p_value, metric_key, variation
        ) as comparison_rank
    from {{ ref('int_experiment_decisions') }}
    window family as (
        partition by experiment_key, population, role <> 'guardrail' and p_value is not null
    )

),

corrected as (

    select
        *,
        case
            when is_in_family then least(1e0, max((comparisons - comparison_rank + 1) * p_value) over (
                partition by experiment_key, population, is_in_family
                order by comparison_rank
                rows between unbounded preceding and current row
            ))
        end as p_value_holm,
        case
            when is_in_family then least(1e0, min(comparisons * p_value / comparison_rank) over (
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
            when decision_method = 'sequential' then sequential_p_value
            else coalesce(p_value_holm, p_value)
        end as decided_p_value,
        (lift > 0) = (not is_lower_better) as is_better
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
                    'not_started', 'no_control_identities', 'no_identities', 'none_matured', 'too_few_identities', 'zero_variance'
                )
                or identities_measured < minimum_sample or control_identities_measured < minimum_sample
                or (aggregation = 'occurrence' and (outcome_sum < 5 or control_outcome_sum < 5))
                or (decision_method = 'flagsmith' and flagsmith_status in ('fewer_than_50_identities', 'fewer_than_5_conversions'))
                then 'collecting_data'
            when control_mean <= 0 or control_mean is null then 'inconclusive'
            when decision_method in ('flagsmith', 'bayesian') then
                case
                    -- Sums that others made may hold a NaN, which is greater than everything.
                    when chance_to_win > 1 - alpha and chance_to_win <= 1 then 'winning'
                    when chance_to_win < alpha then 'losing'
                    else 'inconclusive'
                end
            when decided_p_value < alpha and is_better then 'winning'
            when decided_p_value < alpha then 'losing'
            else 'inconclusive'
        end as verdict
    from measured

),

margin_verdicts as (

    -- The ends of the interval against the margin: on either side a one-sided test at alpha / 2.
    select
        *,
        case
            when margin is null then null
            when verdict in ('control', 'do_not_trust', 'collecting_data') then verdict
            when control_mean <= 0 or control_mean is null or low is null or not abs(low) < 1e300 then 'undecided'
            when case when is_lower_better then high < margin else low > -margin end then 'not_worse_than_margin'
            when case when is_lower_better then low > margin else high < -margin end then 'worse'
            else 'undecided'
        end as margin_verdict
    from verdicts

)

select
    experiment_key,
    metric_key,
    variation,
    population,
    day,

    verdict,
    case
        when status = 'control' then 'Every other variation is compared with this one.'
        when distrust is not null then distrust
        when status = 'not_started' then 'The experiment has not begun: nothing was received since started_at.'
        when status = 'no_control_identities' then 'Nobody was assigned to control, so there is nothing to compare with.'
        when status = 'no_identities' then 'Nobody was assigned to this variation yet.'
        when status = 'none_matured'
            then 'In an arm, nobody''s window had passed by the last webhook or the experiment''s end, whichever is earlier.'
        when status = 'too_few_identities' and aggregation = 'quantile'
            then 'An arm has too few events for this quantile, or all events are of one identity.'
        when status = 'too_few_identities' then 'One identity has no variance: two are needed in each arm, in the same epoch, to compare.'
        when status = 'zero_variance' and aggregation = 'hours_to_first'
            then 'In an arm everybody who had the event took the same time, so its spread is unknown.'
        when status = 'zero_variance' then 'Every identity of an arm has the same outcome, so its spread is unknown.'
        when identities_measured < minimum_sample or control_identities_measured < minimum_sample
            then 'An arm has fewer identities' || case when aggregation in ('hours_to_first', 'quantile') then ' with the event' else '' end
                || ' than the ' || cast(minimum_sample as string) || ' asked for.'
        when aggregation = 'occurrence' and (outcome_sum < 5 or control_outcome_sum < 5)
            then 'An arm has fewer than 5 conversions.'
        when control_mean <= 0 or control_mean is null
            then 'The mean of control is not above 0, so a relative lift means nothing: read the absolute columns.'
        when decision_method in ('flagsmith', 'bayesian')
            then 'Chance to win ' || cast(round(100 * chance_to_win, 2) as string) || ' %, decided above '
                || cast(round(100 * (1 - alpha), 2) as string) || ' % or below ' || cast(round(100 * alpha, 2) as string)
                || ' % (' || decision_method || ').'
        else 'p = ' || cast(round(decided_p_value, 6) as string) || ', decided below ' || cast(alpha as string)
            || ' (' || decision_method || ').'
    end as verdict_reason,
    case
        when role <> 'guardrail' then 'not_a_guardrail'
        when margin is not null then margin_verdict
        when verdict = 'losing' then 'harmed'
        when verdict in ('winning', 'inconclusive') then 'no_harm_shown'
        else verdict
    end as guardrail_status,
    margin_verdict,
    decision_method,

    p_value_holm,
    p_value_benjamini_hochberg,
    case when is_in_family then comparisons end as comparisons
from margin_verdicts
