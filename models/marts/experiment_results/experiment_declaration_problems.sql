{{ config(materialized='table') }}

with experiments as (

    select *, count(*) over (partition by experiment_key) as times_declared
    from {{ declared('experiments') }}

),

metrics as (

    select *, count(*) over (partition by metric_key) as times_declared
    from {{ declared('metrics') }}

),

links as (

    select *, count(*) over (partition by experiment_key, metric_key) as times_declared
    from {{ declared('experiment_metrics') }}

),

experiment_problems as (

    select
        experiment_key,
        case
            when experiment_key is null then 'experiment_key is empty: give the experiment a name of its own'
            when times_declared > 1 then 'experiment_key stands on more than one row: keep one of them'
            when environment is null then 'environment is empty: name the environment as in the webhook''s URL'
            when feature_name is null then 'feature_name is empty: name the feature as in Flagsmith'
            when control_variation is null
                then 'control_variation is empty: name the variation to compare with, mostly `control`'
            when started_at is null then 'started_at is empty: give the UTC time from which evaluations count'
            when ended_at <= started_at then 'ended_at is not after started_at: leave it empty while the experiment runs'
            when assignment_reason is null
                or assignment_reason not in ('environment_default', 'segment_override', 'identity_override')
                then 'assignment_reason must be environment_default, segment_override or identity_override: '
                    || 'where the split was set up in Flagsmith (segment_override for a rollout)'
            when alpha <= 0 or alpha >= 1 then 'alpha must lie between 0 and 1: 0.05 means 95 % intervals'
            when decision_method not in ('flagsmith', 'bayesian', 'frequentist', 'sequential')
                then 'decision_method must be flagsmith, bayesian, frequentist or sequential'
            when sequential_tuning <= 0
                then 'sequential_tuning must be above 0: the number of identities at which the sequential interval is tightest'
            when power <= 0 or power >= 1 then 'power must lie between 0 and 1: mostly 0.8'
        end as problem
    from experiments

),

weight_parts as (

    select experiment_key, {{ text_parts('expected_weights', ';') }} as part
    from experiments
    where expected_weights <> 'auto'

),

weight_problems as (

    select distinct
        experiment_key,
        'expected_weights must be `auto` or name each variation with its weight, like `control=50;blue=50`; `' || part
        || '` is not of that form' as problem
    from weight_parts
    where coalesce(try_cast(substr(part, length(part) - strpos(reverse(part), '=') + 2) as double), -1) < 0
        or strpos(part, '=') < 2

),

metric_problems as (

    select
        metric_key,
        case
            when metric_key is null then 'metric_key is empty: give the metric a name of its own'
            when times_declared > 1 then 'metric_key stands on more than one row: keep one of them'
            when event_name is null then 'event_name is empty: name the event as in the conversion events'
            when aggregation is null or aggregation not in ('occurrence', 'count', 'sum', 'mean', 'ratio')
                then 'aggregation must be occurrence, count, sum, mean or ratio'
            when aggregation = 'ratio' and denominator_event_name is null
                then 'a ratio needs denominator_event_name: the event to divide by'
            when aggregation = 'ratio' and before_days is not null
                then 'before_days is not available for a ratio: leave it empty'
            when numerator_aggregation not in ('count', 'sum') or denominator_aggregation not in ('count', 'sum')
                then 'numerator_aggregation and denominator_aggregation must be count or sum'
            when direction is null or direction not in ('higher_is_better', 'lower_is_better')
                then 'direction must be higher_is_better or lower_is_better'
            when conversion_window_hours <= 0
                then 'conversion_window_hours must be above 0: leave it empty to count until the experiment ends'
            when winsorise_percentile < 0.5 or winsorise_percentile >= 1
                then 'winsorise_percentile must lie in [0.5, 1): 0.99 caps at the 99th percentile'
            when winsorise_percentile is not null and aggregation in ('occurrence', 'ratio')
                then 'winsorise_percentile is for count, sum and mean: leave it empty'
            when before_days <= 0 then 'before_days must be above 0: leave it empty for no adjustment'
            when prior_standard_deviation <= 0
                then 'prior_standard_deviation must be above 0: leave it empty for a flat prior'
            when prior_type not in ('relative', 'absolute') then 'prior_type must be relative or absolute'
            when minimum_sample < 0 then 'minimum_sample must not be negative'
        end as problem
    from metrics

),

link_problems as (

    select
        links.experiment_key,
        links.metric_key,
        case
            when experiments.experiment_key is null then 'no experiment of this experiment_key is declared'
            when metrics.metric_key is null then 'no metric of this metric_key is declared'
            when links.times_declared > 1 then 'the pair stands on more than one row: keep one of them'
            when links.role is null or links.role not in ('primary', 'secondary', 'guardrail')
                then 'role must be primary, secondary or guardrail'
            when links.target_lift = 0 then 'target_lift must not be 0: 0.05 means five per cent more than control'
        end as problem
    from links
    left join (select distinct experiment_key from experiments) as experiments
        on links.experiment_key = experiments.experiment_key
    left join (select distinct metric_key from metrics) as metrics on links.metric_key = metrics.metric_key

),

all_problems as (

    select 'experiments' as declared_in, experiment_key, cast(null as varchar) as metric_key, problem
    from experiment_problems

    union all

    select 'experiments' as declared_in, experiment_key, null as metric_key, problem from weight_problems

    union all

    select 'metrics' as declared_in, null as experiment_key, metric_key, problem from metric_problems

    union all

    select 'experiment_metrics' as declared_in, experiment_key, metric_key, problem from link_problems

)

select distinct
    declared_in,
    experiment_key,
    metric_key,
    problem
from all_problems
where problem is not null
