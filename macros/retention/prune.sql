{#- Retention, with `vars: retention_days`: at the end of a run in which everything succeeded, what was received before
    the cutoff, and history that was closed before it, is deleted; in one transaction. docs/privacy.md says what stays.

    Each environment has its own cutoff: the day of its newest delivery, less so many days. So nobody who sends to one
    environment prunes another. The machine's clock can only make the cutoff earlier, so that one delivery from the future
    deletes nothing. Deliveries of a declared experiment are kept from its start on: its results are made anew from them
    every time. -#}
{% macro prune(results) %}
    {%- set days = var('retention_days', none) -%}
    {%- set landing = source('landing', 'webhooks') -%}
    {%- set experiments = ref('int_declared_experiments') -%}
    {%- set problems = ref('int_declaration_problems') -%}
    {%- if not execute or days is none or flags.WHICH not in ['run', 'build', 'retry'] or is_empty_run() -%}{{ return('') }}{%- endif -%}
    {%- if landing.database != target.database -%}
        {{ exceptions.raise_compiler_error(
            'vars: retention_days prunes a landing in the warehouse itself; yours is in ' ~ landing.database ~ '.'
        ) }}
    {%- endif -%}
    {%- for result in results if result.status | string in ['error', 'fail', 'runtime error', 'skipped', 'partial success'] -%}
        {{ return('') }}
    {%- endfor -%}
    {#- Experiments hold back the cutoff, so nothing goes in a run that has not read their declarations. -#}
    {%- set built = results | map(attribute='node') | map(attribute='unique_id') | list -%}
    {%- for model in ['int_declaration_cells', 'int_declaration_problems', 'int_declared_experiments'] if 'model.flagsmith_warehouse.' ~ model not in built -%}
        {{ return('') }}
    {%- endfor -%}
    {%- if not flagsmith_warehouse.is_all_taken_in() -%}{{ return('') }}{%- endif -%}
    {#- A wrong experiment might hold back the cutoff once it is put right: until then, nothing goes. -#}
    {%- set count = "select count(*) from " ~ problems ~ " where declaration = 'experiments' and severity = 'problem'" -%}
    {%- if not flagsmith_warehouse.built_model('int_declaration_problems') or flagsmith_warehouse.scalar(count, 0) | int -%}
        {%- do exceptions.warn('Nothing was pruned: a declaration of an experiment is wrong (experiment_declaration_problems), and might hold back the cutoff.') -%}
        {{ return('') }}
    {%- endif -%}
    {%- set cutoffs = flagsmith_warehouse.cutoffs(landing, experiments, days) -%}
    {%- if flagsmith_warehouse.scalar('select count(*) from (' ~ cutoffs ~ ') as cutoffs', 0) | int == 0 -%}{{ return('') }}{%- endif -%}
    {{ return(flagsmith_warehouse.prune_statements(landing, cutoffs)) }}
{% endmacro %}

{#- The relation of one of our models; none where it has not been built. -#}
{% macro built_model(name) %}
    {%- set node = graph.nodes.get('model.flagsmith_warehouse.' ~ name) -%}
    {{ return(adapter.get_relation(database=node.database, schema=node.schema, identifier=node.alias) if node) }}
{% endmacro %}

{#- True where every model that was ever built has taken in every delivery: a run of a few models leaves others behind. -#}
{% macro is_all_taken_in() %}
    {%- set deliveries = flagsmith_warehouse.built_model('stg_flagsmith__deliveries') -%}
    {%- if not deliveries -%}{{ return(false) }}{%- endif -%}
    {{ return(flagsmith_warehouse.scalar(
        'select count(*) from (select model, max_by(build_number, recording) as build_number from ' ~ build_progress()
        ~ ' group by model) as latest where build_number < (select max(_build_number) from ' ~ deliveries ~ ')', 1
    ) | int == 0) }}
{% endmacro %}

{#- Select: environment and pruned_before, for each environment that has something older in the landing. -#}
{% macro cutoffs(landing, experiments, days) %}
    with environments as (

        select
            environment,
            min(received_at) as oldest_received_at,
            least(max(received_at), timestamp '{{ run_started_at.strftime("%Y-%m-%d %H:%M:%S") }}') as newest_received_at
        from {{ landing }}
        group by environment

    ),

    experiments as (

        select environment, date_trunc('day', min(started_at)) as started_at
        from {{ experiments }}
        group by environment

    ),

    cutoffs as (

        select
            environments.environment,
            environments.oldest_received_at,
            greatest(
                least(
                    {{ plus_hours("date_trunc('day', environments.newest_received_at)", -24 * (days | int)) }},
                    coalesce(experiments.started_at, timestamp '9999-01-01')
                ),
                {{ pruned_before('environments.environment') }}
            ) as pruned_before
        from environments
        left join experiments on environments.environment = experiments.environment

    )

    select environment, pruned_before from cutoffs where oldest_received_at < pruned_before
{% endmacro %}
