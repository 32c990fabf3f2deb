{#- Select: the body of each (payload_hash, delivery_id) in `wanted`, once, with the columns payload_hash,
    _delivery_id, body_encoding and body. Bodies stream through: nothing here holds them, so that memory does not grow
    with their number. Only deliveries that were landed twice need sorting, and these are few. -#}
{% macro landed_bodies(wanted) %}
    select
        landed.payload_hash,
        landed.delivery_id as _delivery_id,
        landed.body_encoding,
        landed.body
    from {{ source('landing', 'webhooks') }} as landed
    inner join {{ wanted }} as wanted
        on landed.delivery_id = wanted.delivery_id and landed.payload_hash = wanted.payload_hash
    where landed.delivery_id not in (
        select delivery_id from {{ source('landing', 'webhooks') }}
        where delivery_id in (select delivery_id from {{ wanted }})
        group by delivery_id
        having count(*) > 1
    )

    union all

    select
        landed.payload_hash,
        landed.delivery_id as _delivery_id,
        landed.body_encoding,
        landed.body
    from {{ source('landing', 'webhooks') }} as landed
    inner join {{ wanted }} as wanted
        on landed.delivery_id = wanted.delivery_id and landed.payload_hash = wanted.payload_hash
    where landed.delivery_id in (
        select delivery_id from {{ source('landing', 'webhooks') }}
        where delivery_id in (select delivery_id from {{ wanted }})
        group by delivery_id
        having count(*) > 1
    )
    qualify row_number() over (partition by landed.payload_hash order by landed.landed_at) = 1
{% endmacro %}
