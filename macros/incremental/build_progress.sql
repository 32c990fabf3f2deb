{#- How an incremental model knows what is new to it, whatever order deliveries come in.

    Every build that finds new deliveries gives them its number (`_build_number`, handed down from
    stg_flagsmith__deliveries). `intermediate.build_progress` remembers for each model the number up to which it has
    taken them in. It is written in the model's own transaction, so a build killed half-way leaves each model
    either before or after, never in between; and a model rebuilt alone, or left out of a run, catches up by itself.
    No clock takes part: a delivery that is weeks late is new in the build that first sees it.

    A model says in its `meta`:
      built_from  the incremental models whose rows it reads. Its progress is no further than theirs.
      declared    relations that people fill and its rows depend on (names for the macro `declared`).
      vars        vars that its rows depend on. -#}

{#- The relation that holds the progress: one row per model and build. -#}
{% macro build_progress() %}
    {{ return(api.Relation.create(
        database=target.database,
        schema=generate_schema_name('intermediate', none) | trim,
        identifier='build_progress'
    )) }}
{% endmacro %}

{#- Creates the progress table where there is none, and forgets all but the latest row of each model. -#}
{% macro create_build_progress() %}
    create schema if not exists {{ build_progress().without_identifier() }};
    create table if not exists {{ build_progress() }} (
        model varchar, build_number bigint, fingerprint varchar, recorded_at timestamp
    );
    delete from {{ build_progress() }} as older
    using {{ build_progress() }} as newer
    where older.model = newer.model and older.recorded_at < newer.recorded_at
{% endmacro %}

{#- The one value of a query; `otherwise` while parsing, and where nothing is built (`dbt compile` and `dbt docs
    generate` work before the first run, and show the models as they are built from nothing). -#}
{% macro scalar(query, otherwise) %}
    {%- if not execute or flags.WHICH in ['compile', 'generate'] -%}{{ return(otherwise) }}{%- endif -%}
    {{ return(run_query(query).columns[0].values()[0]) }}
{% endmacro %}

{#- What the rows of the model in hand depend on besides the deliveries, as one hash: the version of the models'
    logic, what the model itself says it depends on (`declared`, `vars`), and the fingerprints of the models it is
    built from. Where it differs from the one the model was built with, the model rebuilds itself in full, without
    anybody having to remember `--full-refresh`. -#}
{% macro fingerprint() %}
    {%- set logic_version = '1' -%}
    {%- set meta = config.get('meta', {}) -%}
    {%- set parts = [logic_version] -%}
    {%- for name in meta.get('vars', []) -%}
        {%- do parts.append(tojson(var(name, none))) -%}
    {%- endfor -%}
    {%- for name in meta.get('declared', []) -%}
        {%- do parts.append(scalar(
            "select coalesce(md5(string_agg(cast(declared as varchar), '\n' order by cast(declared as varchar))), '') from "
            ~ declared(name) ~ " as declared", ''
        )) -%}
    {%- endfor -%}
    {%- for source in meta.get('built_from', []) -%}
        {%- do parts.append(latest_progress('fingerprint', source, '')) -%}
    {%- endfor -%}
    {{ return(local_md5(parts | join('|'))) }}
{% endmacro %}

{#- A column of a model's latest row in the progress table. -#}
{% macro latest_progress(column, model_name, otherwise) %}
    {{ return(scalar(
        "select coalesce(arg_max(" ~ column ~ ", recorded_at), " ~ ("''" if otherwise is string else otherwise) ~ ") from "
        ~ build_progress() ~ " where model = '" ~ model_name ~ "'", otherwise
    )) }}
{% endmacro %}

{#- The number of the last build whose deliveries the model in hand has taken in; 0 for none. -#}
{% macro built_up_to() %}
    {{ return(latest_progress('build_number', this.identifier, 0)) }}
{% endmacro %}

{#- True where the model in hand may take in only what is new: it exists, no full refresh was asked for, and it was
    built with the fingerprint of today. -#}
{% macro builds_on_itself() %}
    {%- if not execute or not is_incremental() -%}{{ return(false) }}{%- endif -%}
    {{ return(latest_progress('fingerprint', this.identifier, '') == fingerprint()) }}
{% endmacro %}

{#- The number of the build up to which all that the model in hand is built from has come. -#}
{% macro sources_built_up_to() %}
    {%- if not execute -%}{{ return(0) }}{%- endif -%}
    {%- set progress = [] -%}
    {%- for source in config.get('meta', {}).get('built_from', []) -%}
        {%- do progress.append(latest_progress('build_number', source, 0) | int) -%}
    {%- endfor -%}
    {{ return(progress | min) }}
{% endmacro %}

{#- Condition: the delivery is one that the model in hand takes in now. It is new to the model, and not newer than what
    all models it is built from have taken in: a model that adds to what it has must not meet a delivery twice. -#}
{% macro is_to_be_taken_in(alias=none) -%}
    {%- set number = (alias ~ '.' if alias else '') ~ '_build_number' -%}
    {{ number }} <= {{ sources_built_up_to() }}
    {%- if builds_on_itself() %} and {{ number }} > {{ built_up_to() }}{% endif %}
{%- endmacro %}

{#- Post-hook of every incremental model: how far it has come. -#}
{% macro record_progress() %}
    {%- if execute and config.get('materialized') == 'incremental' -%}
    {%- set sources = config.get('meta', {}).get('built_from', []) -%}
    insert into {{ build_progress() }}
    select
        '{{ this.identifier }}',
        {% if sources -%}
        {{ sources_built_up_to() }},
        {%- else -%}
        (select coalesce(max(_build_number), 0) from {{ this }}),
        {%- endif %}
        '{{ fingerprint() }}',
        cast(now() at time zone 'UTC' as timestamp)
    {%- endif -%}
{% endmacro %}

{#- The number this build gives to the deliveries it is the first to see: above all numbers ever given. -#}
{% macro next_build_number() %}
    {{ return(scalar("select coalesce(max(build_number), 0) + 1 from " ~ build_progress(), 1)) }}
{% endmacro %}
