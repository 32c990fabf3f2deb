-- What one would write instead of the models: parse and unnest every delivery, then windows and groups. Typed from_json, each
-- table once, no body carried through a sort: not a straw man. The rows are those of the six marts (transform.py compares them);
-- what DuckDB spells otherwise than Flagsmith (floats) is left as it is.

create or replace table plain.evaluations as
select
    delivery_id, environment, received_at, identity,
    row_number() over identity_in_order as number,
    lead(received_at) over identity_in_order as next_at
from (select delivery_id, environment, received_at, body ->> '$.identity' as identity from landing.webhooks where body like '{"flags": [%')
window identity_in_order as (partition by environment, identity order by received_at, delivery_id);

create or replace table plain.flags as
select
    *,
    case
        when not enabled then 'off'
        when is_multivariate and value is not null and percentage_allocation is not null then value
        when is_multivariate and value is null then 'control'
        when is_multivariate and value not in ('', '0', 'false') then 'control'
        else coalesce(value, 'on')
    end as variation
from (
    select
        environment, identity, received_at, delivery_id, number, next_at,
        flag.feature.id as feature_id, flag.feature.name as feature_name, flag.feature.type = 'MULTIVARIATE' as is_multivariate,
        flag.enabled as enabled, flag.feature_state_value ->> '$' as value,
        case json_type(flag.feature_state_value) when 'VARCHAR' then 'string' when 'BOOLEAN' then 'boolean' when 'NULL' then 'null'
            when 'DOUBLE' then 'float' when 'UBIGINT' then 'integer' when 'BIGINT' then 'integer' else 'null' end as value_type,
        try_cast(flag.percentage_allocation as double) as percentage_allocation,
        case when flag.identity is not null then 'identity_override' when flag.feature_segment is not null then 'segment_override'
            else 'environment_default' end as assignment_reason
    from (
        select evaluations.*, unnest(from_json(landed.body, '{"flags": [{"enabled": "BOOLEAN",
            "feature": {"id": "BIGINT", "name": "VARCHAR", "type": "VARCHAR"}, "feature_segment": "JSON", "identity": "JSON",
            "feature_state_value": "JSON", "percentage_allocation": "JSON"}]}').flags) as flag
        from landing.webhooks as landed
        inner join plain.evaluations as evaluations using (delivery_id)
    )
);

create or replace table plain.exposures as
select * exclude (last), last.*
from (
    select
        environment, identity, feature_id, variation, enabled, assignment_reason,
        max_by({'feature_name': feature_name, 'is_multivariate': is_multivariate, 'value': value, 'value_type': value_type,
            'percentage_allocation': percentage_allocation}, (received_at, delivery_id)) as last,
        count(*) as exposure_count, min(received_at) as first_exposed_at, max(received_at) as last_exposed_at
    from plain.flags group by all
);

create or replace table plain.daily as
select
    seen.*, coalesce(new_identities, 0) as new_identities
from (
    select environment, feature_id, variation, enabled, assignment_reason, cast(received_at as date) as day,
        max_by(feature_name, (received_at, delivery_id)) as feature_name, count(distinct identity) as identities, count(*) as evaluations
    from plain.flags group by all
) as seen
left join (
    select environment, feature_id, variation, enabled, assignment_reason, cast(first_exposed_at as date) as day, count(*) as new_identities
    from plain.exposures group by all
) as fresh using (environment, feature_id, variation, enabled, assignment_reason, day);

create or replace table plain.assignments as
with compared as (
    select *,
        lag(number) over w as before_number, lag(assignment_reason) over w as before_reason, lag(enabled) over w as before_enabled,
        lag(percentage_allocation) over w as before_percentage,
        before_number is null
        or (variation, enabled, value, value_type, assignment_reason)
            is distinct from lag((variation, enabled, value, value_type, assignment_reason)) over w as is_start
    from plain.flags
    window w as (partition by environment, identity, feature_id order by number)
),
numbered as (
    select *, sum(case when is_start then 1 else 0 end) over (partition by environment, identity, feature_id order by number) as spell
    from compared
)
select
    environment, identity, feature_id, max_by(feature_name, number) as feature_name, max_by(is_multivariate, number) as is_multivariate,
    any_value(variation) as variation, any_value(enabled) as enabled, any_value(value) as value, any_value(value_type) as value_type,
    any_value(assignment_reason) as assignment_reason, max_by({'p': percentage_allocation}, number).p as percentage_allocation,
    count(*) as evaluation_count,
    max(case
        when not is_start then null
        when before_number is null then 'first_seen'
        when before_reason <> 'identity_override' and assignment_reason = 'identity_override' then 'identity_override_added'
        when before_reason = 'identity_override' and assignment_reason <> 'identity_override' then 'identity_override_removed'
        when before_reason <> 'segment_override' and assignment_reason = 'segment_override' then 'segment_override_added'
        when before_reason = 'segment_override' and assignment_reason <> 'segment_override' then 'segment_override_removed'
        when before_enabled <> enabled then 'toggled'
        when coalesce(before_percentage, -1) <> coalesce(percentage_allocation, -1) then 'weights_changed'
        else 'value_changed' end) as change_reason,
    min(received_at) as valid_from, max_by({'at': next_at}, number).at as valid_to
from numbered group by environment, identity, feature_id, spell;

create or replace table plain.memberships as
with members as (
    select evaluations.*, unnest(from_json(landed.body,
        '{"segments": [{"id": "BIGINT", "name": "VARCHAR", "member": "BOOLEAN"}]}').segments) as segment
    from landing.webhooks as landed
    inner join plain.evaluations as evaluations using (delivery_id)
),
compared as (
    select environment, identity, received_at, number, next_at, segment.id as segment_id, segment.name as segment_name, segment.member as member,
        lag(number) over w as before_number, lag(segment.member) over w as before_member,
        lead(number) over w as after_number, lead(segment.member) over w as after_member
    from members
    window w as (partition by environment, identity, segment.id order by number)
),
numbered as (
    select *, sum(case when before_number is null or number <> before_number + 1 or not before_member then 1 else 0 end)
        over (partition by environment, identity, segment_id order by number) as spell
    from compared where member
)
select environment, identity, segment_id, max_by(segment_name, number) as segment_name,
    max_by({'r': case when next_at is null then null when after_number = number + 1 then 'stated' else 'absent' end}, number).r as left_reason,
    min(received_at) as entered_at, max_by({'at': next_at}, number).at as left_at
from numbered group by environment, identity, segment_id, spell;

create or replace table plain.traits as
with traits as (
    select evaluations.*, unnest(from_json(landed.body,
        '{"traits": [{"trait_key": "VARCHAR", "trait_value": "JSON", "transient": "BOOLEAN"}]}').traits) as trait
    from landing.webhooks as landed
    inner join plain.evaluations as evaluations using (delivery_id)
),
compared as (
    select environment, identity, received_at, number, next_at, trait.trait_key as trait_key, cast(trait.trait_value as varchar) as trait_value,
        coalesce(trait.transient, false) as is_transient,
        lag(number) over w as before_number,
        before_number is null or number <> before_number + 1
        or (cast(trait.trait_value as varchar), coalesce(trait.transient, false))
            is distinct from lag((cast(trait.trait_value as varchar), coalesce(trait.transient, false))) over w as is_start
    from traits
    window w as (partition by environment, identity, trait.trait_key order by number)
),
numbered as (
    select *, sum(case when is_start then 1 else 0 end) over (partition by environment, identity, trait_key order by number) as spell
    from compared
)
select environment, identity, trait_key, cast(any_value(trait_value) as json) as trait_json, trait_json ->> '$' as value_text,
    case when trait_json is null then 'null' else json_type(trait_json) end as json_type_name,
    case json_type_name when 'null' then 'null' when 'VARCHAR' then 'string' when 'BOOLEAN' then 'boolean' when 'NULL' then 'null'
        when 'DOUBLE' then 'float' else 'integer' end as value_type,
    try_cast(value_text as double) as value_number,
    any_value(is_transient) as is_transient, min(received_at) as valid_from, max_by({'at': next_at}, number).at as valid_to
from numbered group by environment, identity, trait_key, spell;

create or replace table plain.identities as
with latest as (
    select environment, identity, max(number) as evaluation_count, min(received_at) as first_seen_at, max(received_at) as last_seen_at,
        max_by(delivery_id, number) as delivery_id
    from plain.evaluations group by all
),
parsed as (
    select latest.*, from_json(landed.body, '{"segments": [{"member": "BOOLEAN"}],
        "traits": [{"trait_key": "VARCHAR", "trait_value": "JSON", "transient": "BOOLEAN"}]}') as body
    from latest inner join landing.webhooks as landed using (delivery_id)
),
listed as (
    select *, list_filter(body.traits, lambda t : not coalesce(t.transient, false)) as traits from parsed
)
select environment, identity, evaluation_count, first_seen_at, last_seen_at,
    len(list_filter(body.segments, lambda s : s.member)) as segment_count, len(traits) as trait_count,
    '{' || list_aggregate(list_sort(list_transform(traits, lambda t : cast(to_json(t.trait_key) as varchar) || ': '
        || coalesce(cast(t.trait_value as varchar), 'null'))), 'string_agg', ', ') || '}' as traits
from listed;
