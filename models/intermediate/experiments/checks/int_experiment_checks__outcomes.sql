{{ config(materialized='view_in_place') }}

with begun as (

    select
        experiment_key,
        sum(identities) as identities,
        sum(hashed) as hashed
    from {{ ref('int_experiment_variation_counts') }}
    group by experiment_key

),

shares as (

    select
        begun.experiment_key,
        begun.identities,
        begun.hashed,
        coalesce(counts.unassigned_hashed, 0) as unassigned_hashed,
        coalesce(counts.events, 0) as events,
        coalesce(counts.unassigned, 0) as unassigned,
        coalesce(counts.before_exposure, 0) as before_exposure,
        coalesce(counts.unassigned / nullif(counts.events, 0), 0) as unassigned_share,
        coalesce(counts.before_exposure / nullif(counts.events, 0), 0) as before_exposure_share
    from begun
    left join {{ ref('int_experiment_outcome_counts') }} as counts on begun.experiment_key = counts.experiment_key

),

unreadable as (

    select
        count(*) as problems,
        min(problem) as problem,
        min(remedy) as remedy
    from {{ ref('int_outcome_problems') }}
    where severity = 'problem'

)

select
    experiment_key,
    0 as epoch,
    'outcomes_without_assignment' as check_name,
    case
        when events = 0 then 'no_outcomes'
        when unassigned_share <= {{ check_threshold('outcomes_without_assignment') }} then 'few'
        when hashed = identities and unassigned_hashed = 0 then 'only_identities_hashed'
        when hashed = 0 and unassigned_hashed = unassigned then 'only_outcomes_hashed'
        else 'many'
    end as finding,
    unassigned_share as value,
    {{ check_threshold('outcomes_without_assignment') }} as threshold,
    unassigned as affected,
    events as total,
    cast(null as string) as detail
from shares

union all

select
    experiment_key,
    0 as epoch,
    'outcomes_before_exposure' as check_name,
    case
        when before_exposure_share > {{ check_threshold('outcomes_before_exposure') }} then 'many' else 'few'
    end as finding,
    before_exposure_share as value,
    {{ check_threshold('outcomes_before_exposure') }} as threshold,
    before_exposure as affected,
    events as total,
    cast(null as string) as detail
from shares
where events > 0

union all

select
    experiment_key,
    0 as epoch,
    'unusable_outcomes' as check_name,
    'some' as finding,
    sum(outcomes) as value,
    {{ check_threshold('unusable_outcomes') }} as threshold,
    cast(sum(outcomes) as bigint) as affected,
    cast(null as bigint) as total,
    {{ joined_texts('words', ', ', 'event_name, unusable_column') }} as detail
from (
    select
        *,
        {{ grouped_digits('outcomes') }} || ' of the event ' || event_name || case unusable_column
            when 'value' then ' with a value that is not a finite number'
            when 'occurred_at' then ' without a time that can be read'
            else ' without an identity'
        end as words
    from {{ ref('int_experiment_unusable_outcomes') }}
) as unusable
group by experiment_key

union all

select
    experiments.experiment_key,
    0 as epoch,
    'outcomes_readable' as check_name,
    'unreadable' as finding,
    unreadable.problems as value,
    {{ check_threshold('outcomes_readable') }} as threshold,
    unreadable.problems as affected,
    cast(null as bigint) as total,
    unreadable.problem || '. Remedy: ' || unreadable.remedy as detail
from {{ ref('int_experiments') }} as experiments
cross join unreadable
where unreadable.problems > 0 and experiments.status <> 'invalid'
