{{ config(materialized='view_in_place') }}

with counts as (

    select * from {{ ref('int_experiment_variation_counts') }}

),

totals as (

    select
        experiment_key,
        sum(identities) as identities,
        count(*) as variations
    from counts
    group by experiment_key

),

experiments as (

    select
        experiments.experiment_key,
        experiments.status,
        experiments.last_received_at,
        coalesce(totals.identities, 0) as identities,
        coalesce(totals.variations, 0) as variations,
        coalesce(control.identities, 0) as control_identities
    from {{ ref('int_experiments') }} as experiments
    left join totals on experiments.experiment_key = totals.experiment_key
    left join counts as control
        on
            experiments.experiment_key = control.experiment_key
            and experiments.control_variation = control.variation

)

select
    experiment_key,
    0 as epoch,
    'has_begun' as check_name,
    case
        when identities >= {{ check_threshold('has_begun') }} then 'assigned'
        when last_received_at is null then 'nothing_received'
        when status = 'not_started' then 'not_started'
        else 'nobody_assigned'
    end as finding,
    identities as value,
    {{ check_threshold('has_begun') }} as threshold,
    cast(identities as bigint) as affected,
    cast(null as bigint) as total,
    cast(null as string) as detail
from experiments
where status <> 'invalid'

union all

select
    experiment_key,
    0 as epoch,
    'control_present' as check_name,
    case when control_identities >= {{ check_threshold('control_present') }} then 'present' else 'absent' end as finding,
    control_identities as value,
    {{ check_threshold('control_present') }} as threshold,
    cast(control_identities as bigint) as affected,
    cast(null as bigint) as total,
    cast(null as string) as detail
from experiments
where identities > 0

union all

select
    experiment_key,
    0 as epoch,
    'several_variations' as check_name,
    case when variations >= {{ check_threshold('several_variations') }} then 'several' else 'only_one' end as finding,
    variations as value,
    {{ check_threshold('several_variations') }} as threshold,
    cast(variations as bigint) as affected,
    cast(null as bigint) as total,
    cast(null as string) as detail
from experiments
where identities > 0
