{#- How an incremental model knows which deliveries are new to it, in whatever order they arrive.

    Every build that finds new deliveries gives them its number (`_build_number`, handed down from
    stg_flagsmith__deliveries). `intermediate.build_progress` has, for each model, the number up to which the model has
    read them. It is written in the model's own transaction, so a build killed half-way leaves each model
    either before or after, never in between. A model that was rebuilt alone, or left out of a run, catches up by itself.
    No clock is involved: a delivery that is weeks late is new in the build that first sees it. -#}

{#- The relation that holds the progress: one row per model and recording. Recordings are counted, not timed, so a
    clock that was set back cannot make an older row the latest one.
      numbering      the numbering of deliveries that the model was built with: the number of the first build in it
      kept_before    rows of the model from before this time were made by an earlier logic; null if there are none
      logic_version  version of the logic with which the row was recorded
      descriptions   hash of the descriptions that the model's table has -#}
{% macro build_progress() %}
    {{ return(api.Relation.create(
        database=target.get('database'),
        schema=generate_schema_name('intermediate', none) | trim,
        identifier='build_progress'
    )) }}
{% endmacro %}

{#- The version of the models' logic. Raise it with every change after which rows must be rebuilt. -#}
{% macro logic_version() %}{{ return(3) }}{% endmacro %}

{#- Stops the run if a later version of the models has built the warehouse, because this version would misread its rows. -#}
{% macro refuse_later_logic() %}
    {%- if is_built_now() -%}
    {%- set built_with = flagsmith_warehouse.built_with_logic_version() -%}
    {%- if built_with > flagsmith_warehouse.logic_version() -%}
        {%- do flagsmith_warehouse.refuse_logic_version(build_progress(), built_with) -%}
    {%- endif -%}
    {%- endif -%}
{% endmacro %}

{% macro refuse_logic_version(relation, built_with) %}
    {{ exceptions.raise_compiler_error(
        relation ~ ' says that this warehouse was built by a later release of flagsmith_warehouse (logic version ' ~ built_with
        ~ '; this one has ' ~ flagsmith_warehouse.logic_version() ~ '). Nothing was changed. Install that release again, or restore the '
        ~ 'backup from before the upgrade.'
    ) }}
{% endmacro %}

{#- False while parsing, and in commands that build nothing. -#}
{% macro is_built_now() %}
    {{ return(execute and flags.WHICH not in ['compile', 'generate', 'list', 'show']) }}
{% endmacro %}

{#- True with `dbt run --empty`, which runs models on no rows to see that they work. Deliveries then do not count as read. -#}
{% macro is_empty_run() %}
    {{ return(true if flags.EMPTY else false) }}
{% endmacro %}

{#- The one value of a query; `otherwise` while parsing, and in commands that build nothing. (So `dbt compile` and `dbt docs
    generate` work before the first run, and show the models as in a full build.) -#}
{% macro scalar(query, otherwise) %}
    {{ return(flagsmith_warehouse.value_of(query) if is_built_now() else otherwise) }}
{% endmacro %}

{#- The one value of a query, also in commands that build nothing. -#}
{% macro value_of(query) %}
    {{ return(run_query(query).columns[0].values()[0]) }}
{% endmacro %}

{#- What the progress table says about the current model and the models it is built from:
      built_up_to          the number of the last build whose deliveries the model has read; 0 for none
      sources_built_up_to  the number up to which all its sources have read deliveries
      fingerprint          one hash of everything besides deliveries that its rows depend on: the version of the models'
                           logic, the vars that it names, the declarations in the seeds that it reads, the numbering of
                           deliveries, and the fingerprints of its sources
      is_same              whether it was built with that fingerprint
      numbering            the numbering of deliveries that it is built with
      is_same_numbering    whether it was built with that numbering
      kept_before          what the progress table says
      is_described         whether its table has the current descriptions
    Queried once per model, and kept in `model`, which lives as long as dbt works on the model. -#}
{% macro progress() %}
    {%- if not is_built_now() -%}
        {{ return({
            'built_up_to': 0, 'sources_built_up_to': 0, 'fingerprint': '', 'is_same': false, 'numbering': 0,
            'is_same_numbering': false, 'kept_before': none, 'is_described': false,
        }) }}
    {%- endif -%}
    {%- if 'progress' in model -%}{{ return(model['progress']) }}{%- endif -%}
    {%- set sources = flagsmith_warehouse.increments_read() -%}
    {%- set latest = flagsmith_warehouse.latest_progress([this.identifier] + sources) -%}
    {%- set nothing = {'build_number': 0, 'fingerprint': '', 'numbering': none, 'kept_before': none, 'descriptions': none} -%}
    {%- set own = latest.get(this.identifier, nothing) -%}
    {%- set numberings = [] -%}
    {%- for source in sources if source in latest -%}{%- do numberings.append(latest[source].numbering) -%}{%- endfor -%}
    {%- set numbering = (numberings | max if numberings else 0) if sources else flagsmith_warehouse.numbering(own.numbering) -%}
    {%- set parts = [flagsmith_warehouse.logic_version() | string, numbering | string] -%}
    {%- for name in flagsmith_warehouse.model_meta('vars') or [] -%}
        {#- YAML has dates; JSON has none. -#}
        {%- set value = flagsmith_warehouse.given_cohorts() if name == 'cohorts' else var(name, none) -%}
        {%- do parts.append(value | string if 'datetime.' in value | string else tojson(value)) -%}
    {%- endfor -%}
    {%- for declarations in flagsmith_warehouse.declarations_read() -%}
        {%- do parts.append(scalar(rows_hash(declarations), '')) -%}
    {%- endfor -%}
    {%- set numbers = [] -%}
    {%- for source in sources -%}
        {%- do parts.append(latest.get(source, nothing).fingerprint) -%}
        {%- do numbers.append(latest.get(source, nothing).build_number) -%}
    {%- endfor -%}
    {%- set fingerprint = local_md5(parts | join('|')) -%}
    {%- do model.update({'progress': {
        'built_up_to': own.build_number,
        'sources_built_up_to': numbers | min if numbers else 0,
        'fingerprint': fingerprint,
        'is_same': own.fingerprint == fingerprint,
        'numbering': numbering,
        'is_same_numbering': own.numbering == numbering,
        'kept_before': own.kept_before,
        'is_described': own.descriptions == flagsmith_warehouse.descriptions(),
    }}) -%}
    {{ return(model['progress']) }}
{% endmacro %}

{#- The descriptions of the current model and its columns, as one hash. -#}
{% macro descriptions() %}
    {{ return(local_md5(tojson([model.description, model.columns.values() | map(attribute='description') | list]))) }}
{% endmacro %}

{#- True if this model needs to read only what is new: its table exists, no full refresh was requested, and it was built
    with the current fingerprint. Otherwise it is built in full, and nobody has to remember `--full-refresh`. -#}
{% macro is_increment() %}
    {%- if not is_built_now() -%}{{ return(false) }}{%- endif -%}
    {%- set existing = load_relation(this) -%}
    {%- if existing and existing.is_table and not should_full_refresh()
        and (is_empty_run() or progress().is_same or keeps_pruned_history()) -%}
        {{ return(true) }}
    {%- endif -%}
    {%- do refuse_to_forget() -%}
    {{ return(false) }}
{% endmacro %}

{#- The statement that records the progress of the model in `build_progress`. If `--empty` made the table anew, the
    earlier progress is deleted, because the table has read nothing. -#}
{% macro record_progress() %}
    {%- if is_empty_run() -%}
    delete from {{ build_progress() }} where {{ 'false' if is_increment() else "model = '" ~ this.identifier ~ "'" }}
    {%- else -%}
    insert into {{ build_progress() }} (
        model, build_number, fingerprint, recording, numbering, kept_before, logic_version, descriptions
    )
    select
        '{{ this.identifier }}',
        {% if flagsmith_warehouse.increments_read() -%}
        {{ progress().sources_built_up_to }},
        {%- else -%}
        (select coalesce(max(_build_number), 0) from {{ this }}),
        {%- endif %}
        '{{ progress().fingerprint }}',
        coalesce(max(recording), 0) + 1,
        {{ progress().numbering }},
        {{ "cast('" ~ flagsmith_warehouse.kept_before() ~ "' as timestamp)" if flagsmith_warehouse.kept_before() else 'cast(null as timestamp)' }},
        {{ flagsmith_warehouse.logic_version() }},
        '{{ flagsmith_warehouse.descriptions() }}'
    from {{ build_progress() }}
    where model = '{{ this.identifier }}'
    {%- endif -%}
{% endmacro %}
