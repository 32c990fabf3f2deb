{#- Creates an empty landing table where there is none, so that models run on a fresh clone.
    The loader creates the same table (loader/landing/schema.py); a test holds the two together.
    A landing that a var names is somebody else's: where it is not there, the run stops and says so. -#}
{% macro create_landing() %}
    {{ return(adapter.dispatch('create_landing', 'flagsmith_warehouse')()) }}
{% endmacro %}

{% macro default__create_landing() %}
    {{ return('') }}
{% endmacro %}

{% macro duckdb__create_landing() %}
    {%- set landing = source('landing', 'webhooks') -%}
    {%- if landing.schema != 'landing' or landing.identifier != 'webhooks' or landing.database != target.database -%}
        {#- adapter.get_relation would leave a transaction open, in which all other hooks would be lost. -#}
        {%- if is_built_now() and not relation_columns(landing.render()) -%}
            {{ exceptions.raise_compiler_error(
                'There is no table ' ~ landing.render() ~ ', which vars: landing_schema, landing_table and landing_database name '
                ~ 'as the landing. Nothing was built. Correct the name, or create the table.'
            ) }}
        {%- endif -%}
        {{ return('') }}
    {%- endif -%}
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
