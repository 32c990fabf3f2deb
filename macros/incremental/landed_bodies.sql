{#- Select: the body of each (payload_hash, delivery_id) in `wanted`, once, with the columns payload_hash,
    _delivery_id, body_encoding and body. Bodies stream through this query, so memory does not grow with their number.
    Copies are removed only if a delivery was landed twice, that is, if the landing has more rows than there are
    deliveries.

    earliest: a query for the lowest id of the wanted deliveries, null if none is wanted; used in increments. Ids begin with
    the time of receipt and deliveries are landed roughly in that order, so earlier bodies are not even decompressed. With
    10,000 new deliveries beside 1,000,000 older ones, this took 0.02 s of processor time instead of 1.2. A late
    delivery only makes this search longer. (With `earliest` as a subquery in the condition, DuckDB did not join `wanted`
    first.) -#}
{% macro landed_bodies(wanted, earliest) %}
    {%- set landing = source('landing', 'webhooks') %}
    {%- set surplus -%}
        select (select count(*) from {{ landing }}) - (select count(*) from {{ ref('stg_flagsmith__deliveries') }})
    {%- endset %}
    {%- set is_surplus = scalar(surplus, 0) | int != 0 %}
    {%- set from_id = scalar(earliest, none) if is_increment() else '' %}
    select
        wanted.payload_hash,
        wanted.delivery_id as _delivery_id,
        landed.body_encoding,
        landed.body
    from {{ landing }} as landed
    inner join {{ wanted }} as wanted
        on landed.delivery_id = wanted.delivery_id
    {%- if is_surplus %} and landed.payload_hash = wanted.payload_hash{% endif %}
    where
        {{ 'false' if from_id is none else 'landed.delivery_id >= ' ~ text_literal(from_id) }}
    {%- if is_surplus %}
        and landed.delivery_id not in (select delivery_id from {{ landing }} group by delivery_id having count(*) > 1)

    union all

    select
        payload_hash,
        _delivery_id,
        body_encoding,
        body
    from (
        select
            landed.payload_hash,
            landed.delivery_id as _delivery_id,
            landed.body_encoding,
            landed.body,
            row_number() over (partition by landed.payload_hash order by landed.landed_at) as copy_number
        from {{ landing }} as landed
        inner join {{ wanted }} as wanted
            on landed.delivery_id = wanted.delivery_id and landed.payload_hash = wanted.payload_hash
        where landed.delivery_id in (select delivery_id from {{ landing }} group by delivery_id having count(*) > 1)
    ) as copies
    where copy_number = 1
    {%- endif %}
{% endmacro %}
