{{ config(materialized='view_in_place') }}

{%- set thresholds = experiment_checks().sample_ratio %}
with tests as (

    -- The threshold is divided by the number of epochs. So a fair experiment has a false alarm in any of its epochs with a
    -- chance of 1 in 1,000, and one for the whole with the same chance.
    select
        *,
        case when epoch > 0 then count(*) over (partition by experiment_key, epoch > 0) else 1 end as tests
    from {{ ref('int_experiment_share_tests') }}
    where check_name = 'sample_ratio'

)

select
    experiment_key,
    epoch,
    check_name,
    case
        when obstacle is not null then obstacle
        when p_value < {{ thresholds.threshold }} / tests then 'unbalanced'
        when p_value < {{ thresholds.warning_threshold }} / tests then 'doubtful'
        else 'balanced'
    end as finding,
    p_value as value,
    {{ thresholds.threshold }} / tests as threshold,
    cast(null as bigint) as affected,
    cast(identities as bigint) as total,
    cast(null as string) as detail
from tests

union all

select
    experiment_key,
    0 as epoch,
    'weights_known' as check_name,
    'unknown' as finding,
    0e0 as value,
    {{ check_threshold('weights_known') }} as threshold,
    cast(null as bigint) as affected,
    cast(null as bigint) as total,
    cast(null as string) as detail
from (select distinct experiment_key from {{ ref('int_experiment_variation_counts') }}) as begun
where experiment_key not in (select experiment_key from {{ ref('int_experiment_sample_ratios') }})
