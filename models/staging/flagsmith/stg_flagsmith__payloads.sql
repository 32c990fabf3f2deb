{{ config(meta={'adds': 'payload_hash', 'retention': {'payloads': 'payload_hash'}}) }}

with fresh as (

    -- Many bodies are equal, byte for byte. Each distinct body is read once, from one delivery that carried it.
    select
        payload_hash,
        min(delivery_id) as delivery_id
    from {{ changed('stg_flagsmith__deliveries') }} as deliveries
    group by payload_hash

),

bodies as (

    {{ landed_bodies('fresh', 'select min(delivery_id) from ' ~ new('stg_flagsmith__deliveries') ~ ' as deliveries') }}

),

divided_bodies as (

    -- Flagsmith writes the flags first. They are most of a body, and many bodies have the same flags. So the body is cut after
    -- them, and only the rest is parsed here. int_flag_set_elements finds out whether the flags are JSON, once for each distinct
    -- array. (This saves 40 % of the time of this model if every body is distinct.) The mark at which we cut cannot occur inside
    -- a JSON string, because quotes are escaped there.
    select
        *,
        case when body like '{"flags": [%' then position('], "identity": "' in body) else 0 end as flags_end
    from bodies

),

parsed_rests as (

    select
        *,
        case
            when flags_end > 0
                then {{ json_parts("'{' || substring(body, flags_end + 3)", ['$.identity', '$.segments', '$.traits']) }}
        end as rest_parts
    from divided_bodies

),

parts as (

    -- The cut was right if the rest is an object with all other keys. All other bodies are parsed whole.
    select
        payload_hash,
        _delivery_id,
        body_encoding,
        {{ body_bytes('body', 'body_encoding') }} as bytes,
        case
            when {{ list_element('rest_parts', 1) }} is not null and {{ list_element('rest_parts', 2) }} is not null and {{ list_element('rest_parts', 3) }} is not null
                then substring(body, 11, flags_end - 10)
        end as flags_cut,
        rest_parts,
        case
            when {{ list_element('rest_parts', 1) }} is null or {{ list_element('rest_parts', 2) }} is null or {{ list_element('rest_parts', 3) }} is null
                then {{ json_parts('body', ['$.identity', '$.flags', '$.segments', '$.traits', '$.event_type', '$.data']) }}
        end as part
    from parsed_rests

),

named as (

    select
        payload_hash,
        _delivery_id,
        body_encoding,
        bytes,
        flags_cut is not null or part is not null as is_json,
        cast(case when flags_cut is null then {{ list_element('part', 1) }} else {{ list_element('rest_parts', 1) }} end as string) as identity,
        coalesce(flags_cut, cast({{ list_element('part', 2) }} as string)) as flags,
        cast(case when flags_cut is null then {{ list_element('part', 3) }} else {{ list_element('rest_parts', 2) }} end as string) as segments,
        cast(case when flags_cut is null then {{ list_element('part', 4) }} else {{ list_element('rest_parts', 3) }} end as string) as traits,
        cast({{ list_element('part', 5) }} as string) as event_type,
        cast({{ list_element('part', 6) }} as string) as data
    from parts

),

judged as (

    -- Only the shape decides. An evaluation has an identity and says something about it. Environment and audit-log
    -- webhooks have event_type and an object as data. A key may be missing or null. If a key occurs twice, the first counts.
    select
        *,
        case
            when body_encoding <> 'utf-8' then 'not_utf8'
            when not is_json then 'not_json'
            when coalesce(flags, segments, traits) is null and event_type like '"%' and left(data, 1) = '{' then null
            when coalesce(flags, segments, traits) is null then 'unknown_shape'
            when identity not like '"%' or identity is null then 'identity_not_a_string'
            when flags not like '[%' and flags <> 'null' then 'flags_not_an_array'
            when segments not like '[%' and segments <> 'null' then 'segments_not_an_array'
            when traits not like '[%' and traits <> 'null' then 'traits_not_an_array'
        end as quarantine_reason
    from named

)

select
    payload_hash,

    case
        when quarantine_reason is not null then 'quarantined'
        when coalesce(flags, segments, traits) is not null then 'evaluation'
        when event_type = '"AUDIT_LOG_CREATED"' then 'audit_log'
        else 'flag_change'
    end as kind,
    quarantine_reason,

    case when quarantine_reason is null then {{ json_text(json_of('identity')) }} end as identity,
    case when quarantine_reason is null and flags like '[%' then {{ long_content_hash('flags') }} end as flags_hash,
    case when quarantine_reason is null and segments like '[%' then {{ content_hash('segments') }} end as segments_hash,
    case when quarantine_reason is null and traits like '[%' then {{ content_hash('traits') }} end as traits_hash,

    case when quarantine_reason is null and segments like '[%' then segments end as segments,
    case when quarantine_reason is null and traits like '[%' then traits end as traits,
    case
        when quarantine_reason is null and coalesce(flags, segments, traits) is null
            then {{ json_text(json_of('event_type')) }}
    end as event_type,
    case when quarantine_reason is null and coalesce(flags, segments, traits) is null then data end as change,

    cast(bytes as bigint) as bytes,
    _delivery_id
from judged
