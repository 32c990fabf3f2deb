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

{#- Merges what `land --to` has put below `var('landing_files')` and the table lacks, by delivery_id: exactly once, wherever a run is
    killed. What retention has deleted from the table may still be in files, so deliveries from before a cutoff are left out.
    Without that var the table is somebody else's to fill. -#}
{% macro spark__create_landing() %}
    {%- set landing = source('landing', 'webhooks') -%}
    {%- if not is_built_now() -%}{{ return('') }}{%- endif -%}
    {%- do run_query('create schema if not exists ' ~ landing.without_identifier().render()) -%}
    {%- do run_query(
        'create table if not exists ' ~ landing.render() ~ ' (delivery_id string, environment string, received_at timestamp, '
        ~ 'landed_at timestamp, payload_hash string, is_verified boolean, body_encoding string, body string, '
        ~ 'original_payload_hash string) partitioned by (days(landed_at))'
    ) -%}
    {%- if var('landing_files', none) is none -%}{{ return('') }}{%- endif -%}
    {%- set is_pruning_known = adapter.get_relation(database=none, schema=pruned().schema, identifier=pruned().identifier) -%}
    {%- set files = spark_landed_files() -%}
    {%- call statement('landed_files') -%}
        merge into {{ landing.render() }} as landing
        using (
            select * from (
                select *, row_number() over (partition by delivery_id order by landed_at) as copy_number from {{ files }} as files
                {%- if is_pruning_known %}
                where not exists (
                    select 1 from {{ pruned() }} as pruned
                    where files.environment = pruned.environment and files.received_at < pruned.pruned_before
                )
                {%- endif %}
            ) as copies
            where copy_number = 1
        ) as files
        on landing.delivery_id = files.delivery_id
        when not matched then insert (
            delivery_id, environment, received_at, landed_at, payload_hash, is_verified, body_encoding, body, original_payload_hash
        ) values (
            files.delivery_id, files.environment, files.received_at, files.landed_at, files.payload_hash, files.is_verified,
            files.body_encoding, files.body, files.original_payload_hash
        )
    {%- endcall -%}
    {{ return('') }}
{% endmacro %}

{#- The files of `land --to`, as a relation. -#}
{% macro spark_landed_files() %}{{ return('parquet.`' ~ var('landing_files').rstrip('/') ~ '/day=*/hour=*/*.parquet`') }}{% endmacro %}
