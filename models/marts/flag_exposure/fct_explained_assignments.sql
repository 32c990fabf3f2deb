{{ config(materialized='view_in_place') }}

-- The last change of the flag that Flagsmith announced between the previous spell and this one is most likely the cause. Changes
-- of another identity's override, or of a segment that the identity was not in, explain nothing. The change_reason comes from
-- the payloads alone, whether or not such webhooks arrive.
with changed as (

    select
        *,
        lag(valid_from) over (partition by environment, identity, feature_id order by valid_from) as previous_from
    from {{ ref('fct_flag_assignments') }}

),

causes as (

    select
        changed.environment,
        changed.identity,
        changed.feature_id,
        changed.valid_from,
        changes.delivery_id,
        changes.event_type,
        changes.changed_by,
        changes.changed_at,
        row_number() over (
            partition by changed.environment, changed.identity, changed.feature_id, changed.valid_from
            order by changes.received_at desc, changes.delivery_id desc
        ) as recency
    from changed
    inner join {{ ref('fct_flag_changes') }} as changes
        on
            changed.environment = changes.environment
            and changed.feature_id = changes.feature_id
            and changed.valid_from >= changes.received_at
            and changed.previous_from < changes.received_at
            and (changes.identity = changed.identity or changes.identity is null)
    where
        changes.segment_id is null
        or exists (
            select 1
            from {{ ref('fct_segment_memberships') }} as memberships
            where
                memberships.environment = changed.environment
                and memberships.identity = changed.identity
                and memberships.segment_id = changes.segment_id
                and memberships.entered_at <= changed.valid_from
                and (memberships.left_at >= changes.received_at or memberships.left_at is null)
        )

)

select
    changed.environment,
    changed.identity,
    changed.feature_id,
    changed.valid_from,

    changed.feature_name,
    changed.variation,
    changed.change_reason,
    causes.delivery_id as change_delivery_id,
    causes.event_type,
    causes.changed_by,
    causes.changed_at
from changed
left join causes
    on
        changed.environment = causes.environment
        and changed.identity = causes.identity
        and changed.feature_id = causes.feature_id
        and changed.valid_from = causes.valid_from
        and causes.recency = 1
where changed.previous_from is not null
