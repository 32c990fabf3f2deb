{{ config(materialized='view_in_place') }}

with totals as (

    select
        experiment_key,
        sum(identities) as identities,
        sum(quarantined) as quarantined,
        sum(quarantined) / sum(identities) as share,
        sum(in_several_variations) as in_several_variations
    from {{ ref('int_experiment_variation_counts') }}
    group by experiment_key

)

select
    experiment_key,
    0 as epoch,
    'quarantined_share' as check_name,
    case when share > {{ check_threshold('quarantined_share') }} then 'many' else 'few' end as finding,
    share as value,
    {{ check_threshold('quarantined_share') }} as threshold,
    cast(quarantined as bigint) as affected,
    cast(identities as bigint) as total,
    cast(null as string) as detail
from totals

union all

select
    experiment_key,
    0 as epoch,
    'people_in_several_variations' as check_name,
    case
        when in_several_variations / identities > {{ check_threshold('people_in_several_variations') }} then 'many' else 'few'
    end as finding,
    in_several_variations / identities as value,
    {{ check_threshold('people_in_several_variations') }} as threshold,
    cast(in_several_variations as bigint) as affected,
    cast(identities as bigint) as total,
    cast(null as string) as detail
from totals
where in_several_variations > 0

union all

select
    experiment_key,
    epoch,
    check_name,
    case
        when obstacle is not null then obstacle
        when p_value < {{ check_threshold('quarantined_balance') }} then 'unbalanced'
        else 'balanced'
    end as finding,
    p_value as value,
    {{ check_threshold('quarantined_balance') }} as threshold,
    cast(null as bigint) as affected,
    cast(identities as bigint) as total,
    cast(null as string) as detail
from {{ ref('int_experiment_share_tests') }}
where check_name = 'quarantined_balance'
