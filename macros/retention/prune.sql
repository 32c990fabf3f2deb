{#- Retention, with `vars: retention_days`. The end of a run in which everything succeeded deletes the deliveries
    received before the cutoff, and the spells that ended before it (macros/engine/prune_everything.sql). docs/privacy.md says what stays.

    Each environment has its own cutoff: the day of its newest delivery, minus retention_days. So traffic in one
    environment never prunes another. The machine's clock can only make the cutoff earlier, so that a single delivery from the
    future deletes nothing. Deliveries are kept from the start of a declared experiment on, because every build computes its
    results from them. `last_pruning` says what was deleted, and why something was kept; with `vars: retention_dry_run`, it
    says what would be deleted. -#}
{% macro prune(results) %}
    {%- set days = var('retention_days', none) -%}
    {%- set landing = source('landing', 'webhooks') -%}
    {%- set experiments = ref('int_declared_experiments') -%}
    {%- set problems = ref('int_declaration_problems') -%}
    {%- if not execute or flags.WHICH not in ['run', 'build', 'retry'] or is_empty_run() -%}{{ return('') }}{%- endif -%}
    {%- if days is none -%}{{ return('' if graph.finished_pruning else 'drop table if exists ' ~ last_pruning()) }}{%- endif -%}
    {%- if (landing.database or none) != target.get('database') -%}
        {{ exceptions.raise_compiler_error(
            'vars: retention_days prunes a landing in the warehouse itself; yours is in ' ~ landing.database ~ '.'
        ) }}
    {%- endif -%}
    {%- for result in results if result.status | string in ['error', 'fail', 'runtime error', 'skipped', 'partial success'] -%}
        {{ return('') }}
    {%- endfor -%}
    {#- Experiments can make the cutoff earlier, so a run that has not read their declarations deletes nothing. -#}
    {%- set built = results | map(attribute='node') | map(attribute='unique_id') | list -%}
    {%- set unread = ['int_declaration_cells', 'int_declaration_cell_problems', 'int_declaration_weight_problems',
        'int_declaration_row_problems', 'int_declaration_key_problems', 'int_declaration_problems', 'int_declared_experiments']
        | map('replace', 'int_', 'model.flagsmith_warehouse.int_', 1) | reject('in', built) | list -%}
    {%- if unread or not flagsmith_warehouse.is_everything_processed() -%}
        {{ return(flagsmith_warehouse.nothing_pruned(days, 'only a part of the project was built')) }}
    {%- endif -%}
    {#- A wrongly declared experiment may make the cutoff earlier once it is corrected. Until then, nothing is deleted. -#}
    {%- set count = "select count(*) from " ~ problems ~ " where declaration = 'experiments' and severity = 'problem'" -%}
    {%- if not flagsmith_warehouse.built_model('int_declaration_problems') or flagsmith_warehouse.scalar(count, 0) | int -%}
        {%- set why = 'a declaration of an experiment is wrong (experiment_declaration_problems), and might hold back the cutoff' -%}
        {%- do exceptions.warn('Nothing was pruned: ' ~ why ~ '.') -%}
        {{ return(flagsmith_warehouse.nothing_pruned(days, why)) }}
    {%- endif -%}
    {%- set plan = flagsmith_warehouse.pruning_plan(landing, experiments, days) -%}
    {%- set cutoffs = 'select environment, pruned_before from (' ~ plan ~ ') as plan where oldest_received_at < pruned_before' -%}
    {%- set account = flagsmith_warehouse.account_for_pruning(landing, plan, days) -%}
    {%- if var('retention_dry_run', false) -%}{{ return(account) }}{%- endif -%}
    {%- if flagsmith_warehouse.scalar('select count(*) from (' ~ cutoffs ~ ') as cutoffs', 0) | int == 0 -%}
        {#- `last_pruning` says what was deleted by the pruning that this run has finished. -#}
        {{ return('' if graph.finished_pruning else account) }}
    {%- endif -%}
    {%- set accounted = run_each([account]) -%}
    {{ return(run_each([accounted, flagsmith_warehouse.prune_everything(landing, cutoffs)])) }}
{% endmacro %}

{#- The relation of one of our models; none if it has not been built. -#}
{% macro built_model(name) %}
    {%- set node = graph.nodes.get('model.flagsmith_warehouse.' ~ name) -%}
    {{ return(adapter.get_relation(database=node.database, schema=node.schema, identifier=node.alias) if node) }}
{% endmacro %}

{#- True if every model that was ever built has read every delivery. (A run of a few models leaves others behind.) -#}
{% macro is_everything_processed() %}
    {%- set deliveries = flagsmith_warehouse.built_model('stg_flagsmith__deliveries') -%}
    {%- if not deliveries -%}{{ return(false) }}{%- endif -%}
    {%- set newest = flagsmith_warehouse.value_of('select max(_build_number) from ' ~ deliveries) or 0 -%}
    {{ return((flagsmith_warehouse.everything_built_up_to() or 0) | int >= newest | int) }}
{% endmacro %}

{#- Select: one row per environment: environment, oldest_received_at (in the landing), wanted_before (the cutoff by retention_days
    alone), pruned_before (the actual cutoff), held_by and held_from (the first experiment, if it makes the cutoff earlier). -#}
{% macro pruning_plan(landing, experiments, days) %}
    with environments as (

        select
            environment,
            min(received_at) as oldest_received_at,
            {{ plus_hours(
                "date_trunc('day', least(max(received_at), timestamp '" ~ run_started_at.strftime("%Y-%m-%d %H:%M:%S") ~ "'))",
                -24 * (days | int)
            ) }} as wanted_before
        from {{ landing }}
        group by environment

    ),

    experiments as (

        select
            environment,
            min(experiment_key) as experiment_key,
            date_trunc('day', min(started_at)) as started_at
        from (
            select *, rank() over (partition by environment order by started_at) as place from {{ experiments }}
        ) as ranked
        where place = 1
        group by environment

    )

    select
        environments.environment,
        environments.oldest_received_at,
        environments.wanted_before,
        greatest(
            least(environments.wanted_before, coalesce(experiments.started_at, timestamp '9999-01-01')),
            {{ pruned_before('environments.environment') }}
        ) as pruned_before,
        case when experiments.started_at < environments.wanted_before then experiments.experiment_key end as held_by,
        case when experiments.started_at < environments.wanted_before then experiments.started_at end as held_from
    from environments
    left join experiments on environments.environment = experiments.environment
{% endmacro %}
