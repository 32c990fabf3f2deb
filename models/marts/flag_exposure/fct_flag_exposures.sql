{{ config(meta={'replaces': 'identity'}) }}

with set_sightings as (

    -- How often, and when first and last, an identity got each set of flags: few rows for any number of evaluations.
    select
        environment,
        identity,
        flags_hash,
        count(*) as exposure_count,
        min(received_at) as first_exposed_at,
        max({{ struct_of({'received_at': 'received_at', 'delivery_id': 'delivery_id'}) }}) as last_exposure
    from {{ new('int_deliveries') }} as deliveries
    where kind = 'evaluation' and not is_test_identity and flags_hash is not null
    group by environment, identity, flags_hash

),

ranked as (

    -- One number gives the order of last sightings. Comparing pairs in the aggregation below took three times as long.
    select *, row_number() over (order by last_exposure) as recency
    from set_sightings

),

set_elements as (
    -- A separate step limits the elements to the sets of this build. Otherwise DuckDB groups all sets ever seen.
    select * from {{ ref('int_flag_set_elements') }}
    where flags_hash in (select flags_hash from set_sightings)

),

flag_sightings as (

    -- Grouped by hashes. The columns behind them are joined last.
    select
        sets.environment,
        sets.identity,
        elements.exposure_hash,
        any_value(elements.feature_id) as feature_id,
        sum(sets.exposure_count) as exposure_count,
        min(sets.first_exposed_at) as first_exposed_at,
        max(sets.recency) as recency
    from ranked as sets
    inner join set_elements as elements on sets.flags_hash = elements.flags_hash
    group by sets.environment, sets.identity, elements.exposure_hash

),

exposures as (

    select
        sightings.environment,
        sightings.identity,
        sightings.feature_id,
        {%- for column in [
            'variation', 'enabled', 'assignment_reason', 'feature_name', 'is_multivariate', 'value', 'value_type',
            'percentage_allocation'
        ] %}
        elements.{{ column }},
        {%- endfor %}
        sightings.exposure_count,
        last.last_exposure.delivery_id as last_delivery_id,
        sightings.first_exposed_at,
        last.last_exposure.received_at as last_exposed_at
    from flag_sightings as sightings
    inner join ranked as last on sightings.recency = last.recency
    inner join set_elements as elements
        on last.flags_hash = elements.flags_hash and sightings.feature_id = elements.feature_id

),

known as (

    select * from {{ known() }} as known

),

merged as (

    -- New exposures joined with the known ones. The later sighting of the two gives the columns of the second list. (Grouping
    -- instead of joining took twice as long.)
    select
        {%- for key in ['environment', 'identity', 'feature_id', 'variation', 'enabled', 'assignment_reason'] %}
        coalesce(exposures.{{ key }}, known.{{ key }}) as {{ key }},
        {%- endfor %}
        {%- for column in [
            'feature_name', 'is_multivariate', 'value', 'value_type', 'percentage_allocation', 'last_delivery_id', 'last_exposed_at'
        ] %}
        case
            when
                known.identity is null
                or exposures.last_exposed_at > known.last_exposed_at
                or (exposures.last_exposed_at = known.last_exposed_at and exposures.last_delivery_id > known.last_delivery_id)
                then exposures.{{ column }}
            else known.{{ column }}
        end as {{ column }},
        {%- endfor %}
        coalesce(exposures.exposure_count, 0) + coalesce(known.exposure_count, 0) as exposure_count,
        least(exposures.first_exposed_at, known.first_exposed_at) as first_exposed_at
    from exposures
    full join known
        on
            {%- for key in ['environment', 'identity', 'feature_id', 'variation', 'enabled', 'assignment_reason'] %}
            exposures.{{ key }} = known.{{ key }} {{ 'and' if not loop.last }}
            {%- endfor %}

)

select
    environment, identity, feature_id, variation, enabled, assignment_reason,

    feature_name, is_multivariate, value, value_type, percentage_allocation,
    cast(exposure_count as bigint) as exposure_count,
    last_delivery_id,

    first_exposed_at,
    last_exposed_at
from merged
