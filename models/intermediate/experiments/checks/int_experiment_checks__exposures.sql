{{ config(materialized='view_in_place') }}

with begun as (

    select
        experiment_key,
        sum(identities) as assigned,
        sum(hashed) as hashed
    from {{ ref('int_experiment_variation_counts') }}
    where {{ reads_flagsmith_events() | lower }}
    group by experiment_key

),

exposures as (

    select
        experiment_key,
        count(distinct identity) as exposed,
        count(distinct identity) filter (where assigned_variation is not null) as exposed_and_assigned,
        count(distinct identity) filter (where variation <> assigned_variation) as in_other_variation,
        count(distinct identity) filter (where {{ looks_hashed('identity') }}) as hashed
    from {{ ref('int_experiment_exposure_events') }}
    group by experiment_key

),

counts as (

    select
        begun.experiment_key,
        begun.assigned,
        begun.hashed as assigned_hashed,
        coalesce(exposures.exposed, 0) as exposed,
        coalesce(exposures.exposed_and_assigned, 0) as exposed_and_assigned,
        coalesce(exposures.in_other_variation, 0) as in_other_variation,
        coalesce(exposures.hashed, 0) as exposed_hashed
    from begun
    left join exposures on begun.experiment_key = exposures.experiment_key

)

select
    experiment_key,
    0 as epoch,
    'evaluated_but_not_exposed' as check_name,
    case
        when exposed = 0 then 'no_exposures'
        when 1 - exposed_and_assigned / assigned > {{ check_threshold('evaluated_but_not_exposed') }} then 'many'
        else 'few'
    end as finding,
    1 - exposed_and_assigned / assigned as value,
    {{ check_threshold('evaluated_but_not_exposed') }} as threshold,
    cast(assigned - exposed_and_assigned as bigint) as affected,
    cast(assigned as bigint) as total,
    cast(null as string) as detail
from counts

union all

select
    experiment_key,
    0 as epoch,
    'exposed_but_not_evaluated' as check_name,
    case
        when 1 - exposed_and_assigned / exposed <= {{ check_threshold('exposed_but_not_evaluated') }} then 'few'
        when assigned_hashed = assigned and exposed_hashed = 0 then 'only_identities_hashed'
        else 'many'
    end as finding,
    1 - exposed_and_assigned / exposed as value,
    {{ check_threshold('exposed_but_not_evaluated') }} as threshold,
    cast(exposed - exposed_and_assigned as bigint) as affected,
    cast(exposed as bigint) as total,
    cast(null as string) as detail
from counts
where exposed > 0

union all

select
    experiment_key,
    0 as epoch,
    'exposed_in_another_variation' as check_name,
    case
        when in_other_variation / exposed_and_assigned > {{ check_threshold('exposed_in_another_variation') }} then 'many'
        else 'few'
    end as finding,
    in_other_variation / exposed_and_assigned as value,
    {{ check_threshold('exposed_in_another_variation') }} as threshold,
    cast(in_other_variation as bigint) as affected,
    cast(exposed_and_assigned as bigint) as total,
    cast(null as string) as detail
from counts
where exposed_and_assigned > 0
