{{ config(materialized='view_in_place') }}

select
    experiment_key,
    epoch,
    check_name,
    case
        when obstacle is not null then obstacle
        when p_value < {{ check_threshold('activated_balance') }} then 'unbalanced'
        else 'balanced'
    end as finding,
    p_value as value,
    {{ check_threshold('activated_balance') }} as threshold,
    cast(null as bigint) as affected,
    cast(identities as bigint) as total,
    cast(null as string) as detail
from {{ ref('int_experiment_share_tests') }}
where check_name = 'activated_balance'
