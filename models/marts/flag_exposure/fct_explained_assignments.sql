{{ config(materialized='view') }}

-- The last change of the flag that Flagsmith announced between the spell before and this one: most likely its cause. The
-- change_reason itself comes from the payloads alone, whether or not such webhooks arrive.
with changed as (

    select
        *,
        lag(valid_from) over (partition by environment, identity, feature_id order by valid_from) as previous_from
    from {{ ref('fct_flag_assignments') }}

)

select
    changed.environment,
    changed.identity,
    changed.feature_id,
    changed.valid_from,

    changed.feature_name,
    changed.variation,
    changed.change_reason,
    changes.delivery_id as change_delivery_id,
    changes.event_type,
    changes.changed_by,
    changes.changed_at
from changed
left join {{ ref('fct_flag_changes') }} as changes
    on
        changed.environment = changes.environment
        and changed.feature_id = changes.feature_id
        and changed.valid_from >= changes.received_at
        and changed.previous_from < changes.received_at
where changed.previous_from is not null
qualify
    row_number() over (
        partition by changed.environment, changed.identity, changed.feature_id, changed.valid_from
        order by changes.received_at desc, changes.delivery_id desc
    ) = 1
