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
        'select count(*) from (select model, arg_max(build_number, recording) as build_number from ' ~ build_progress()
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
                    date_trunc('day', environments.newest_received_at) - {{ days | int }} * interval 1 day,
                    coalesce(experiments.started_at, timestamp '9999-01-01')
                ),
                {{ pruned_before('environments.environment') }}
            ) as pruned_before
        from environments
        left join experiments on environments.environment = experiments.environment

    )

    select environment, pruned_before from cutoffs where oldest_received_at < pruned_before
{% endmacro %}

{#- The statements, as one transaction. -#}
{% macro prune_statements(landing, cutoffs) %}
    {%- set deliveries = flagsmith_warehouse.built_model('stg_flagsmith__deliveries') -%}
    {%- set payloads = flagsmith_warehouse.built_model('stg_flagsmith__payloads') -%}
    {%- set read = flagsmith_warehouse.built_model('int_deliveries') -%}
    {%- set states = flagsmith_warehouse.built_model('int_state_spells') -%}
    {%- set quarantined = flagsmith_warehouse.built_model('quarantined_deliveries') -%}
    {%- set absences = flagsmith_warehouse.built_model('int_flag_absences') -%}
    {%- set assignments = flagsmith_warehouse.built_model('fct_flag_assignments') -%}
    {#- Marts of spells: the column of the beginning, that of the end, and whether it is computed from states. -#}
    {%- set spells = [] -%}
    {%- for name, begins, ends, is_of_states in [
        ('fct_flag_assignments', 'valid_from', 'valid_to', true),
        ('fct_segment_memberships', 'entered_at', 'left_at', true),
        ('fct_identity_traits', 'valid_from', 'valid_to', true),
        ('fct_cohort_memberships', 'entered_at', 'left_at', false),
    ] if flagsmith_warehouse.built_model(name) -%}
        {%- do spells.append([flagsmith_warehouse.built_model(name), begins, ends, is_of_states]) -%}
    {%- endfor -%}
    {%- set held_in = [] -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.package_name == 'flagsmith_warehouse'
        and node.config.materialized == 'incremental' and not node.config.meta.get('is_made_of_what_is_left') -%}
        {%- do held_in.append("'" ~ node.name ~ "'") -%}
    {%- endfor %}
    begin transaction;

    create or replace temporary table cutoffs as {{ cutoffs }};
    delete from {{ pruned() }} where environment in (select environment from cutoffs);
    insert into {{ pruned() }} select environment, pruned_before, [{{ held_in | sort | join(', ') }}] from cutoffs;

    -- History that was closed before the cutoff.
    {% for relation, begins, ends, _ in spells -%}
    delete from {{ relation }} as target using {{ pruned() }} as pruned
    where target.environment = pruned.environment and target.{{ ends }} <= pruned.pruned_before;
    {% endfor %}

    {% if absences and assignments -%}
    -- Of a flag's absences that ended before the cutoff the last one is left. It carries the evaluations of all those in the
    -- spell that lasts beyond the cutoff, and says for ever that some calls leave the flag out.
    create or replace temporary table ended_absences as
    select
        absences.environment,
        absences.identity,
        absences.feature_id,
        max(absences.absent_from) as absent_from,
        coalesce(sum(absences.evaluation_count) filter (where absences.absent_from > spells.valid_from), 0) as evaluation_count
    from {{ absences }} as absences
    inner join {{ pruned() }} as pruned
        on absences.environment = pruned.environment and absences.absent_to <= pruned.pruned_before
    left join {{ assignments }} as spells
        on
            absences.environment = spells.environment
            and absences.identity = spells.identity
            and absences.feature_id = spells.feature_id
            and spells.valid_from <= pruned.pruned_before
    group by absences.environment, absences.identity, absences.feature_id;

    delete from {{ absences }} as target using ended_absences
    where
        target.environment = ended_absences.environment
        and target.identity = ended_absences.identity
        and target.feature_id = ended_absences.feature_id
        and target.absent_from < ended_absences.absent_from;

    update {{ absences }} as target
    set evaluation_count = ended_absences.evaluation_count
    from ended_absences
    where
        target.environment = ended_absences.environment
        and target.identity = ended_absences.identity
        and target.feature_id = ended_absences.feature_id
        and target.absent_from = ended_absences.absent_from;
    {%- endif %}

    -- A state that lasts beyond the cutoff is cut in two at the first delivery that is left: from there on it can be
    -- computed again from deliveries, and what came before is a row that nothing changes any more.
    create or replace temporary table continued as
    with in_order as (

        select *, lead(valid_from) over (partition by environment, identity order by valid_from) as next_from
        from {{ states }}

    ),

    sightings as (

        select deliveries.environment, deliveries.identity, deliveries.received_at, deliveries.flags_hash
        from {{ read }} as deliveries
        inner join {{ pruned() }} as pruned
            on deliveries.environment = pruned.environment and deliveries.received_at >= pruned.pruned_before
        where deliveries.kind = 'evaluation' and not deliveries.is_test_identity
        qualify row_number() over (
            partition by deliveries.environment, deliveries.identity, deliveries.received_at
            order by deliveries.delivery_id desc
        ) = 1

    )

    select
        in_order.environment,
        in_order.identity,
        in_order.valid_from,
        min(sightings.received_at) as continued_from,
        count(sightings.flags_hash) as flag_evaluation_count
    from in_order
    inner join {{ pruned() }} as pruned
        on in_order.environment = pruned.environment and in_order.valid_from < pruned.pruned_before
    inner join sightings
        on
            in_order.environment = sightings.environment
            and in_order.identity = sightings.identity
            and (in_order.next_from > sightings.received_at or in_order.next_from is null)
    group by in_order.environment, in_order.identity, in_order.valid_from;

    insert into {{ states }} by name
    select
        states.* replace (
            continued.continued_from as valid_from,
            continued.flag_evaluation_count as flag_evaluation_count,
            states.earlier_flag_evaluation_count + states.flag_evaluation_count - continued.flag_evaluation_count
                as earlier_flag_evaluation_count
        )
    from {{ states }} as states
    inner join continued
        on
            states.environment = continued.environment
            and states.identity = continued.identity
            and states.valid_from = continued.valid_from;

    update {{ states }} as states
    set
        flag_evaluation_count = states.flag_evaluation_count - continued.flag_evaluation_count,
        valid_to = continued.continued_from
    from continued
    where
        states.environment = continued.environment
        and states.identity = continued.identity
        and states.valid_from = continued.valid_from;

    -- Of the states before the cutoff, those from which builds go on: the last that said anything of flags, of segments, of
    -- traits, those with which a spell that is left began, and those in which an absent flag was last seen.
    delete from {{ states }} as target using {{ pruned() }} as pruned
    where
        target.environment = pruned.environment
        and target.valid_from < pruned.pruned_before
        and (target.environment, target.identity, target.valid_from) not in (
            {%- for said in ['flags_hash', 'segments_hash', 'traits_hash', 'identity'] %}
            select (states.environment, states.identity, max(states.valid_from))
            from {{ states }} as states
            inner join {{ pruned() }} as pruned
                on states.environment = pruned.environment and states.valid_from < pruned.pruned_before
            where states.{{ said }} is not null
            group by states.environment, states.identity
            union all
            {%- endfor %}
            {%- for relation, begins, _, is_of_states in spells if is_of_states %}
            select (environment, identity, {{ begins }}) from {{ relation }}
            {{ 'union all' if not loop.last or absences }}
            {%- endfor %}
            {%- if absences %}
            select (environment, identity, last_seen_from) from {{ absences }}
            {%- endif %}
        );

    {% for relation in [landing, deliveries, read, quarantined] if relation -%}
    delete from {{ relation }} as target using {{ pruned() }} as pruned
    where target.environment = pruned.environment and target.received_at < pruned.pruned_before;
    {% endfor %}

    -- Bodies, and sets of flags, segments and traits, that nothing refers to any more.
    delete from {{ payloads }} where payload_hash not in (select payload_hash from {{ deliveries }});
    update {{ payloads }} as payloads
    set _delivery_id = left_over.delivery_id
    from (select payload_hash, min(delivery_id) as delivery_id from {{ deliveries }} group by payload_hash) as left_over
    where
        payloads.payload_hash = left_over.payload_hash
        and payloads._delivery_id not in (select delivery_id from {{ deliveries }});
    {% for what in ['flag', 'segment', 'trait'] -%}
    delete from {{ flagsmith_warehouse.built_model('int_' ~ what ~ '_set_elements') }}
    where
        {{ what }}s_hash not in (select {{ what }}s_hash from {{ payloads }} where {{ what }}s_hash is not null)
        and {{ what }}s_hash not in (select {{ what }}s_hash from {{ states }} where {{ what }}s_hash is not null);
    {% endfor %}
    commit
{% endmacro %}
