{{ config(materialized='table') }}

{#- Of p-values, Flagsmith's for the sample ratio: an alarm below, a warning below ten times as much. -#}
{%- set alarm_below = '0.001e0' -%}

with experiments as (

    select * from {{ ref('dim_experiments') }}

),

assignments as (

    select * from {{ ref('fct_experiment_assignments') }}

),

last_day as (

    select *
    from {{ experiment_statistics() }}
    where population = 'assigned'
    qualify row_number() over (partition by experiment_key, metric_key, variation order by day desc) = 1

),

observed as (

    -- As they were randomised: quarantined identities are counted under the variation they got first. Leaving them
    -- out would raise false alarms after a change of weights, which moves identities of one variation only.
    select experiment_key, epoch, variation, count(*) as identities
    from assignments
    group by experiment_key, epoch, variation

),

weights as (

    -- Never over variations that nobody was to get.
    select
        *,
        weight / sum(weight) over (partition by experiment_key, epoch) as share
    from {{ ref('int_experiment_epochs') }}
    where weight > 0

),

expected as (

    select
        weights.experiment_key,
        weights.epoch,
        weights.variation,
        coalesce(observed.identities, 0) as observed,
        sum(coalesce(observed.identities, 0)) over (partition by weights.experiment_key, weights.epoch)
            * weights.share as expected
    from weights
    left join observed
        on
            weights.experiment_key = observed.experiment_key
            and weights.epoch = observed.epoch
            and weights.variation = observed.variation

),

pooled as (

    -- Over the whole experiment each variation should have what the epochs, each with its own weights, add up to.
    select experiment_key, epoch, variation, observed, expected from expected

    union all

    select experiment_key, 0 as epoch, variation, sum(observed) as observed, sum(expected) as expected
    from expected
    group by experiment_key, variation

),

shares as (

    -- Two more comparisons of shares between variations: of the quarantined, and of the activated.
    select
        assignments.experiment_key,
        assignments.variation,
        count(*) as identities,
        count(*) filter (where assignments.is_quarantined) as quarantined,
        count(*) filter (where assignments.activated_at is not null) as activated
    from assignments
    inner join experiments on assignments.experiment_key = experiments.experiment_key
    group by assignments.experiment_key, assignments.variation

),

totals as (

    select
        experiment_key,
        sum(identities) as identities,
        sum(quarantined) as quarantined,
        sum(activated) as activated,
        count(*) as variations
    from shares
    group by experiment_key

),

chi_squares as (

    select
        experiment_key,
        epoch,
        'sample_ratio' as check_name,
        sum(observed) as total,
        sum(pow(observed - expected, 2) / nullif(expected, 0)) as statistic,
        count(*) - 1 as degrees_of_freedom
    from pooled
    group by experiment_key, epoch
    {% for check, part in [('quarantined_balance', 'quarantined'), ('activated_balance', 'activated')] %}
    union all

    select
        shares.experiment_key,
        0 as epoch,
        '{{ check }}' as check_name,
        max(totals.identities) as total,
        sum(
            pow(shares.{{ part }} - shares.identities * totals.{{ part }} / totals.identities, 2)
            / nullif(shares.identities * totals.{{ part }} / totals.identities
                * (1 - totals.{{ part }} / totals.identities), 0)
        ) as statistic,
        max(totals.variations) - 1 as degrees_of_freedom
    from shares
    inner join totals on shares.experiment_key = totals.experiment_key
    group by shares.experiment_key
    {% endfor %}
),

{{ chi_square_survival('chi_squares', 'statistic', 'degrees_of_freedom', 'p_value', 'chi_square_tests') }},

before_moments as (

    select
        last_day.experiment_key,
        last_day.metric_key,
        last_day.variation,
        experiments.control_variation,
        cast(last_day.identities as double) as n,
        last_day.before_sum / nullif(last_day.identities, 0) as mean,
        {{ sample_variance(
            'last_day.before_sum', 'last_day.before_sum_squares', 'cast(last_day.identities as double)', 'false'
        ) }} / nullif(last_day.identities, 0) as squared_error
    from last_day
    inner join experiments on last_day.experiment_key = experiments.experiment_key
    inner join {{ ref('int_experiment_metrics') }} as metrics
        on last_day.experiment_key = metrics.experiment_key and last_day.metric_key = metrics.metric_key
    where metrics.before_days is not null and last_day.identities > 1

),

before_differences as (

    -- Welch's test of what was there before the experiment, for each variation against control.
    select
        treatment.experiment_key,
        treatment.metric_key,
        -abs(treatment.mean - control.mean) / sqrt(treatment.squared_error + control.squared_error) as statistic,
        pow(treatment.squared_error + control.squared_error, 2) / (
            pow(treatment.squared_error, 2) / (treatment.n - 1) + pow(control.squared_error, 2) / (control.n - 1)
        ) as degrees_of_freedom
    from before_moments as treatment
    inner join before_moments as control
        on
            treatment.experiment_key = control.experiment_key
            and treatment.metric_key = control.metric_key
            and control.variation = control.control_variation
    where treatment.variation <> treatment.control_variation and treatment.squared_error + control.squared_error > 0

),

{{ student_t_cdf('before_differences', 'statistic', 'degrees_of_freedom', 'one_sided_p_value', 'before_p_values') }},

before_tests as {{ evaluated_once() }} (

    -- Planned once: where its readers each take the p-value's formula over, planning takes three seconds.
    select experiment_key, metric_key, one_sided_p_value from before_p_values

),

needed as (

    select
        experiment_key,
        event_name,
        max(before_days) as before_days,
        min(metric_number) as metric_number
    from {{ ref('int_experiment_metrics') }}
    group by experiment_key, event_name

),

happened as (

    -- Every event of a metric since the experiment began. What is dated after the last webhook does not count yet.
    select
        experiments.experiment_key,
        count(*) filter (where events.occurred_at <= experiments.last_received_at) as events,
        max(events.occurred_at) filter (where events.occurred_at <= experiments.last_received_at) as last_occurred_at,
        count(*) filter (where events.occurred_at > experiments.last_received_at) as events_ahead,
        max(events.occurred_at) filter (where events.occurred_at > experiments.last_received_at) as last_ahead_at
    from {{ ref('int_outcomes') }} as events
    inner join needed on events.event_name = needed.event_name and coalesce(events.unusable_column, 'value') = 'value'
    inner join {{ ref('dim_experiments') }} as experiments
        on
            needed.experiment_key = experiments.experiment_key
            and events.occurred_at >= experiments.started_at
            and (events.occurred_at < experiments.ended_at or experiments.ended_at is null)
            and (events.environment = experiments.environment or events.environment is null)
    group by experiments.experiment_key

),

met as (

    -- Those of them whose identity is assigned, from where they have been looked up already.
    select
        needed.experiment_key,
        sum(counted.events) as events,
        -- Where a metric asks for what was before, that is no surprise.
        sum(counted.events) filter (
            where counted.measure_number = needed.metric_number + {{ outcome_parts().too_early }}
            and needed.before_days is null
        ) as before_exposure
    from (
        select
            measure_number,
            count(*) as events
        from {{ ref('int_experiment_outcomes') }}
        where measure_number is not null
        group by measure_number
    ) as counted
    inner join needed
        on
            counted.measure_number in (
                {%- for part in ['outcome', 'before', 'too_early', 'too_late'] %}
                needed.metric_number + {{ outcome_parts()[part] }}{{ ',' if not loop.last }}
                {%- endfor %}
            )
    group by needed.experiment_key

),

outcomes as (

    select
        happened.experiment_key,
        happened.events,
        greatest(happened.events - coalesce(met.events, 0), 0) as unassigned,
        coalesce(met.before_exposure, 0) as before_exposure,
        happened.last_occurred_at,
        happened.events_ahead,
        happened.last_ahead_at
    from happened
    left join met on happened.experiment_key = met.experiment_key

),

events_of_experiments as (

    -- The events that an experiment reads, and whether it adds up their values.
    select
        experiment_key,
        event_name,
        bool_or(aggregation in ('sum', 'mean') or (aggregation = 'ratio' and numerator_aggregation = 'sum')) as has_values
    from {{ ref('int_experiment_metrics') }}
    group by experiment_key, event_name

    union

    select experiment_key, denominator_event_name as event_name, bool_or(denominator_aggregation = 'sum') as has_values
    from {{ ref('int_experiment_metrics') }}
    where denominator_event_name is not null
    group by experiment_key, denominator_event_name

    union

    select experiment_key, activation_event as event_name, false as has_values
    from experiments
    where status <> 'invalid' and activation_event is not null

),

unusable as (

    -- Outcomes that cannot be counted, or not with their value. One whose time cannot be read may be of any time.
    select
        experiments.experiment_key,
        events.event_name,
        events.unusable_column,
        count(*) as outcomes
    from {{ ref('int_outcomes') }} as events
    inner join (
        select
            experiment_key,
            event_name,
            bool_or(has_values) as has_values
        from events_of_experiments
        group by experiment_key, event_name
    ) as wanted on events.event_name = wanted.event_name
    inner join experiments on wanted.experiment_key = experiments.experiment_key
    where
        events.unusable_column is not null
        and (wanted.has_values or events.unusable_column <> 'value')
        and (events.environment = experiments.environment or events.environment is null)
        and (
            events.unusable_column = 'occurred_at'
            or (
                events.occurred_at >= experiments.started_at
                and (events.occurred_at < experiments.ended_at or experiments.ended_at is null)
                and events.occurred_at <= experiments.last_received_at
            )
        )
    group by experiments.experiment_key, events.event_name, events.unusable_column

),

elsewhere as (

    -- Where outcomes do not say in which environment they happened, an identity known in several takes them to each.
    select experiments.experiment_key, count(distinct assignments.identity) as identities
    from assignments
    inner join experiments on assignments.experiment_key = experiments.experiment_key
    inner join {{ ref('dim_identities') }} as known
        on assignments.identity = known.identity and experiments.environment <> known.environment
    where {{ 'false' if conversion_events_have_environment() else 'true' }}
    group by experiments.experiment_key

),

ambiguous as (

    select features.experiment_key, {{ list_length('flags.ambiguous_variations') }} as variations
    from {{ ref('int_experiment_features') }} as features
    inner join experiments on features.experiment_key = experiments.experiment_key
    inner join {{ ref('dim_flags') }} as flags
        on experiments.environment = flags.environment and features.feature_id = flags.feature_id
    where features.is_under_experiment

),

checks as (

    select
        experiment_key,
        0 as epoch,
        'declaration' as check_name,
        case when status = 'invalid' then 1e0 else 0e0 end as value,
        0e0 as threshold,
        case when status = 'invalid' then 'alarm' else 'ok' end as status,
        coalesce('The declaration is wrong: ' || problem || '.', 'The declaration is in order.') as message,
        true as spoils_results
    from experiments

    union all

    select
        experiments.experiment_key,
        0,
        'has_begun',
        coalesce(totals.identities, 0),
        1e0,
        case when coalesce(totals.identities, 0) > 0 then 'ok' else 'warn' end,
        case
            when totals.identities > 0 then cast(totals.identities as varchar) || ' identities are assigned.'
            when experiments.last_received_at is null
                then 'Nothing was ever received from the environment ' || experiments.environment
                    || ': is it spelt as in the webhook''s URL?'
            when experiments.status = 'not_started'
                then 'It has not begun: the last webhook came before started_at.'
            else 'No evaluation since started_at carries the feature ' || experiments.feature_name
                || ' with the reason ' || experiments.assignment_reason
                || ': look in fct_flag_exposures for the feature''s name and reason.'
        end,
        false
    from experiments
    left join totals on experiments.experiment_key = totals.experiment_key
    where experiments.status <> 'invalid'

    union all

    -- What the three tests of shares say, in one branch: planning their p-value twice would double its cost.
    select
        experiment_key,
        epoch,
        check_name,
        p_value,
        alarm_below,
        case
            when not is_testable then 'ok'
            when p_value < alarm_below and check_name = 'sample_ratio' then 'alarm'
            when p_value < 10 * alarm_below and check_name = 'sample_ratio' then 'warn'
            when p_value < alarm_below then 'warn'
            else 'ok'
        end,
        case
            when degrees_of_freedom < 1 then 'Only one variation has a weight: there is nothing to test.'
            when total < 100 then 'Fewer than 100 identities: too few to test.'
            when statistic is null then 'Nobody or everybody is concerned: there is nothing to test.'
            when check_name = 'sample_ratio' and p_value < 10 * alarm_below
                then 'The variations do not have the shares they should have: some identities are lost or doubled on the '
                    || 'way. Find out which before you read the results.'
            when check_name = 'sample_ratio' then 'The variations have the shares they should have.'
            when check_name = 'quarantined_balance' and p_value < alarm_below
                then 'One variation loses more identities to the quarantine than another: those who remain may differ.'
            when check_name = 'quarantined_balance' then 'The quarantine takes the same share of every variation.'
            when p_value < alarm_below
                then 'The variations activate different shares of their identities: compare the assigned, not the activated.'
            else 'Every variation activates the same share of its identities.'
        end,
        check_name = 'sample_ratio'
    from (
        -- However many the epochs, a fair experiment raises one alarm in a thousand among them, and one over all.
        select
            *,
            degrees_of_freedom >= 1 and total >= 100 and statistic is not null as is_testable,
            {{ alarm_below }} / case
                when epoch > 0 then count(*) over (partition by experiment_key, check_name, epoch > 0) else 1
            end as alarm_below
        from chi_square_tests
    ) as tests

    union all

    select
        experiments.experiment_key,
        0,
        'weights_known',
        0e0,
        1e0,
        'warn',
        'No weights are known, so the sample ratio cannot be tested: write them in expected_weights.',
        false
    from experiments
    inner join totals on experiments.experiment_key = totals.experiment_key
    where experiments.experiment_key not in (select experiment_key from weights)

    union all

    select
        totals.experiment_key,
        0,
        'quarantined_share',
        totals.quarantined / totals.identities,
        0.05e0,
        case when totals.quarantined / totals.identities > 0.05e0 then 'warn' else 'ok' end,
        cast(totals.quarantined as varchar) || ' of ' || cast(totals.identities as varchar)
            || ' identities saw more than one variation and are left out; quarantine_reason in '
            || 'fct_experiment_assignments says why.',
        false
    from totals

    union all

    select
        experiments.experiment_key,
        0,
        'ambiguous_variations',
        coalesce(ambiguous.variations, 0),
        0e0,
        case when ambiguous.variations > 0 then 'warn' else 'ok' end,
        case
            when ambiguous.variations > 0
                then 'Values of the feature do not tell its variations apart (see dim_flags): give each its own value.'
            else 'Every variation has a value of its own.'
        end,
        false
    from experiments
    left join ambiguous on experiments.experiment_key = ambiguous.experiment_key
    where experiments.status <> 'invalid'

    union all

    select
        experiment_key,
        0,
        'one_feature',
        count(*),
        1e0,
        'warn',
        'The feature ' || string_agg(cast(feature_id as varchar), ', ' order by feature_id)
            || ' had the declared name too, later. Only the one that had it first is under experiment: if it was deleted and '
            || 'made anew, declare a new experiment.',
        false
    from {{ ref('int_experiment_features') }}
    where not is_under_experiment
    group by experiment_key

    union all

    select
        experiments.experiment_key,
        0,
        'control_present',
        coalesce(control.identities, 0),
        1e0,
        case when control.identities > 0 then 'ok' else 'alarm' end,
        case
            when control.identities > 0 then 'Control has identities.'
            else 'Nobody has the variation ' || experiments.control_variation
                || ': is control_variation spelt as in fct_flag_exposures?'
        end,
        true
    from experiments
    inner join totals on experiments.experiment_key = totals.experiment_key
    left join shares as control
        on
            experiments.experiment_key = control.experiment_key
            and experiments.control_variation = control.variation

    union all

    select
        experiment_key,
        0,
        'several_variations',
        variations,
        2e0,
        case when variations > 1 then 'ok' else 'warn' end,
        case
            when variations > 1 then cast(variations as varchar) || ' variations were seen.'
            else 'Only one variation was seen: there is nothing to compare.'
        end,
        false
    from totals

    union all

    -- What the outcomes say, in one branch, so that they are read once.
    select
        experiment_key,
        0,
        check_name,
        value,
        case
            when check_name = 'data_freshness' then 24e0 when check_name = 'outcomes_before_exposure' then 0.2e0 else 0.5e0
        end,
        case
            when check_name = 'data_freshness' and value > 72 then 'alarm'
            when check_name = 'data_freshness' and value > 24 then 'warn'
            when check_name = 'outcomes_before_exposure' and value > 0.2e0 then 'warn'
            when check_name = 'outcomes_without_assignment' and (events = 0 or value > 0.5e0) then 'warn'
            else 'ok'
        end,
        case
            when check_name = 'data_freshness'
                then 'Hours from the last outcome to the last webhook. Above 24 the outcomes are behind: load them before '
                    || 'you decide.'
            when check_name = 'outcomes_before_exposure'
                then cast(before_exposure as varchar) || ' of ' || cast(events as varchar)
                    || ' outcomes came before the identity''s first evaluation and are not counted. Many may mean that the '
                    || 'flag is evaluated too late, or that a clock is wrong.'
            when events = 0 then 'No event of any of its metrics happened since it began: are the event names right?'
            else cast(unassigned as varchar) || ' of ' || cast(events as varchar)
                || ' outcomes are of identities that were not assigned. Many may mean that the two sides name identities '
                || 'differently.'
        end,
        false
    from (
        select
            experiments.experiment_key,
            names.check_name,
            coalesce(outcomes.events, 0) as events,
            coalesce(outcomes.unassigned, 0) as unassigned,
            coalesce(outcomes.before_exposure, 0) as before_exposure,
            case
                when names.check_name = 'data_freshness'
                    then {{ hours_between('outcomes.last_occurred_at', 'experiments.last_received_at') }}
                when names.check_name = 'outcomes_before_exposure'
                    then coalesce(outcomes.before_exposure / nullif(outcomes.events, 0), 0)
                else coalesce(outcomes.unassigned / nullif(outcomes.events, 0), 0)
            end as value
        from experiments
        inner join totals on experiments.experiment_key = totals.experiment_key
        cross join (
            select 'outcomes_without_assignment' as check_name
            union all
            select 'outcomes_before_exposure' as check_name
            union all
            select 'data_freshness' as check_name
        ) as names
        left join outcomes on experiments.experiment_key = outcomes.experiment_key
        where
            names.check_name = 'outcomes_without_assignment'
            or (outcomes.last_occurred_at is not null and (names.check_name = 'outcomes_before_exposure' or experiments.status = 'running'))
    ) as findings

    union all

    select
        outcomes.experiment_key,
        0,
        'outcomes_after_last_webhook',
        {{ hours_between('experiments.last_received_at', 'outcomes.last_ahead_at') }},
        24e0,
        case when {{ hours_between('experiments.last_received_at', 'outcomes.last_ahead_at') }} > 24 then 'warn' else 'ok' end,
        cast(outcomes.events_ahead as varchar) || case when outcomes.events_ahead = 1 then ' outcome is' else ' outcomes are' end
            || ' dated after the last webhook, as far ahead as ' || cast(outcomes.last_ahead_at as varchar)
            || '. An outcome counts once a webhook has come after it. Above 24 hours a clock or a date is wrong, or webhooks are '
            || 'missing.',
        false
    from outcomes
    inner join experiments on outcomes.experiment_key = experiments.experiment_key
    where outcomes.events_ahead > 0

    union all

    select
        experiment_key,
        0,
        'unusable_outcomes',
        sum(outcomes),
        0e0,
        'warn',
        string_agg(
            cast(outcomes as varchar) || ' of the event ' || event_name || case unusable_column
                when 'value' then ' with a value that is not a finite number'
                when 'occurred_at' then ' without a time that can be read'
                else ' without an identity'
            end,
            ', ' order by event_name, unusable_column
        ) || '. Such a value is left out, and an outcome without time or identity as a whole. Mend them where they come from.',
        false
    from unusable
    group by experiment_key

    union all

    select
        experiments.experiment_key,
        0,
        'outcomes_readable',
        count(*),
        0e0,
        'alarm',
        'No outcome is counted, since ' || min(problems.problem) || '. To mend it: ' || min(problems.remedy) || '.',
        true
    from {{ ref('int_outcome_problems') }} as problems
    cross join experiments
    where problems.severity = 'problem' and experiments.status <> 'invalid'
    group by experiments.experiment_key

    union all

    select
        experiment_key,
        0,
        'before_imbalance',
        least(1e0, 2 * min(one_sided_p_value) * count(*)),
        {{ alarm_below }},
        case when 2 * min(one_sided_p_value) * count(*) < {{ alarm_below }} then 'warn' else 'ok' end,
        case
            when 2 * min(one_sided_p_value) * count(*) < {{ alarm_below }}
                then 'The variations differed in ' || min_by(metric_key, (one_sided_p_value, metric_key))
                    || ' before anybody was assigned: trust the adjusted columns (cuped_) rather than the others.'
            else 'The variations were alike before anybody was assigned.'
        end,
        false
    from before_tests
    group by experiment_key

    union all

    select
        experiment_key,
        0,
        'identities_in_several_environments',
        identities,
        0e0,
        'warn',
        cast(identities as varchar) || ' identities are known in another environment too, and the outcomes do not say '
            || 'where they happened: each is counted here. Give conversion_events a column environment.',
        false
    from elsewhere

)

select
    experiment_key,
    cast(epoch as integer) as epoch,
    check_name,

    status,
    cast(value as double) as value,
    threshold,
    message,
    spoils_results
from checks
