{#- Creates an empty landing table where there is none, so that models run on a fresh clone.
    The loader creates the same table (loader/landing/land.py); a test holds the two together. -#}
{% macro create_landing() %}
    {{ return(adapter.dispatch('create_landing', 'flagsmith_warehouse')()) }}
{% endmacro %}

{% macro default__create_landing() %}
    {{ return('') }}
{% endmacro %}

{% macro duckdb__create_landing() %}
    {%- set landing = source('landing', 'webhooks') -%}
    create schema if not exists {{ landing.without_identifier().render() }};
    -- `render`: with `dbt run --empty` the relation itself is a query that yields nothing.
    create table if not exists {{ landing.render() }} (
        delivery_id varchar not null,
        environment varchar not null,
        received_at timestamp not null,
        landed_at timestamp not null,
        payload_hash varchar not null,
        is_verified boolean not null,
        body_encoding varchar not null,
        body varchar not null using compression zstd,
        original_payload_hash varchar
    )
{% endmacro %}
