{{ config(materialized='view_in_place') }}

with experiments as (

    select * from {{ ref('int_experiments') }}

),

features as (

    select * from {{ ref('int_experiment_features') }}

),

ambiguous as (

    select
        experiments.experiment_key,
        count(*) as variations
    from features
    inner join experiments on features.experiment_key = experiments.experiment_key
    inner join {{ ref('int_ambiguous_variations') }} as variations
        on experiments.environment = variations.environment and features.feature_id = variations.feature_id
    where features.is_under_experiment
    group by experiments.experiment_key

)

select
    experiment_key,
    0 as epoch,
    'declaration' as check_name,
    case when status = 'invalid' then 'wrong' else 'in_order' end as finding,
    case when status = 'invalid' then 1e0 else 0e0 end as value,
    {{ check_threshold('declaration') }} as threshold,
    cast(null as bigint) as affected,
    cast(null as bigint) as total,
    cast(null as string) as detail
from experiments

union all

select
    experiments.experiment_key,
    0 as epoch,
    'ambiguous_variations' as check_name,
    case
        when ambiguous.variations > {{ check_threshold('ambiguous_variations') }} then 'ambiguous' else 'distinct'
    end as finding,
    coalesce(ambiguous.variations, 0) as value,
    {{ check_threshold('ambiguous_variations') }} as threshold,
    ambiguous.variations as affected,
    cast(null as bigint) as total,
    cast(null as string) as detail
from experiments
left join ambiguous on experiments.experiment_key = ambiguous.experiment_key
where experiments.status <> 'invalid'

union all

select
    experiment_key,
    0 as epoch,
    'one_feature' as check_name,
    'other_features' as finding,
    count(*) as value,
    {{ check_threshold('one_feature') }} as threshold,
    count(*) as affected,
    cast(null as bigint) as total,
    {{ joined_texts('cast(feature_id as string)', ', ', 'feature_id') }} as detail
from features
where not is_under_experiment
group by experiment_key
