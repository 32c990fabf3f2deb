{#- What retention deletes from each model, as the model declares in `meta.retention`:
      ended        the column with the end of a spell: spells that ended before the cutoff are deleted
      received     the column with the time of receipt: rows received before the cutoff are deleted
      payloads     the column with the hash of a body: bodies that no delivery refers to are deleted
      sets         the column with the hash of a set: sets that neither a body nor a state refers to are deleted
      states       true: states are split at the cutoff, and earlier ones that no later build needs are deleted
      absences     true: absences that ended before the cutoff are merged into one
      states_from  the column with the beginning of the state that a row depends on: that state stays
      is_remade    true: the model is computed from the remaining data, and holds nothing from before the cutoff
    A model without `meta.retention` keeps all its rows. -#}

{#- Our built models whose `meta.retention` has the key `name`, each with its `relation` and `retention`. -#}
{% macro models_of_retention(name) %}
    {%- set models = [] -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.package_name == 'flagsmith_warehouse'
        and name in (node.config.meta.get('retention') or {}) and flagsmith_warehouse.built_model(node.name) -%}
        {%- do models.append({'relation': flagsmith_warehouse.built_model(node.name), 'retention': node.config.meta.retention}) -%}
    {%- endfor -%}
    {{ return(models) }}
{% endmacro %}

{#- The models with rows from before a cutoff that cannot be computed again, as a list of SQL texts. -#}
{% macro models_that_hold_history() %}
    {%- set names = [] -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.package_name == 'flagsmith_warehouse'
        and flagsmith_warehouse.is_an_increment(node) -%}
        {%- set retention = node.config.meta.get('retention') or {} -%}
        {%- if not ('received' in retention or 'payloads' in retention or retention.get('is_remade')) -%}
            {%- do names.append(text_literal(node.name)) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(names | sort) }}
{% endmacro %}

{#- The statements, as one transaction. A row is deleted after the rows that refer to it. -#}
{% macro prune_statements(landing, cutoffs) %}
    begin transaction;

    {{ create_temporary_table('cutoffs', cutoffs) }};
    delete from {{ pruned() }} where environment in (select environment from cutoffs);
    insert into {{ pruned() }}
    select environment, pruned_before, {{ list_of(flagsmith_warehouse.models_that_hold_history()) }} from cutoffs;

    {% for model in flagsmith_warehouse.models_of_retention('ended') -%}
    {{ flagsmith_warehouse.prune_rows(model.relation, model.retention.ended, '<=') }}
    {% endfor %}
    {%- for model in flagsmith_warehouse.models_of_retention('absences') -%}
    {{ flagsmith_warehouse.prune_absences(model) }}
    {% endfor %}
    {%- for model in flagsmith_warehouse.models_of_retention('states') -%}
    {{ flagsmith_warehouse.prune_states(model) }}
    {% endfor %}
    {{ flagsmith_warehouse.prune_rows(landing, 'received_at', '<') }}
    {% for model in flagsmith_warehouse.models_of_retention('received') -%}
    {{ flagsmith_warehouse.prune_rows(model.relation, model.retention.received, '<') }}
    {% endfor %}
    {%- for model in flagsmith_warehouse.models_of_retention('payloads') -%}
    {{ flagsmith_warehouse.prune_payloads(model) }}
    {% endfor %}
    {%- for model in flagsmith_warehouse.models_of_retention('sets') -%}
    {{ flagsmith_warehouse.prune_sets(model) }}
    {% endfor %}
    commit
{% endmacro %}

{#- Deletes rows with a moment before the cutoff. -#}
{% macro prune_rows(relation, moment, compared) %}
    {%- call delete_matching(relation, 'target', pruned() ~ ' as pruned') %}
        target.environment = pruned.environment and target.{{ moment }} {{ compared }} pruned.pruned_before
    {%- endcall %};
{% endmacro %}

{#- Deletes bodies without a delivery. Makes the others name a delivery that is left. -#}
{% macro prune_payloads(model) %}
    {%- set hash = model.retention.payloads -%}
    {%- set deliveries = flagsmith_warehouse.built_model('stg_flagsmith__deliveries') %}
    delete from {{ model.relation }} where {{ hash }} not in (select {{ hash }} from {{ deliveries }});
    {%- set left_over = '(select ' ~ hash ~ ', min(delivery_id) as delivery_id from ' ~ deliveries ~ ' group by ' ~ hash ~ ') as left_over' %}
    {% call update_matching(model.relation, 'payloads', {'_delivery_id': 'left_over.delivery_id'}, left_over) %}
        payloads.{{ hash }} = left_over.{{ hash }}
        and payloads._delivery_id not in (select delivery_id from {{ deliveries }})
    {%- endcall %};
{% endmacro %}

{#- Deletes sets of flags, segments or traits that neither a body nor a state refers to. -#}
{% macro prune_sets(model) %}
    {%- set hash = model.retention.sets %}
    delete from {{ model.relation }}
    where
        true
        {%- for name in ['stg_flagsmith__payloads', 'int_state_spells'] %}
        and {{ hash }} not in (select {{ hash }} from {{ flagsmith_warehouse.built_model(name) }} where {{ hash }} is not null)
        {%- endfor %};
{% endmacro %}

{#- Prunes absences of flags. -#}
{% macro prune_absences(model) %}
    {%- set assignments = flagsmith_warehouse.built_model('fct_flag_assignments') -%}
    {%- if not assignments -%}{{ return('') }}{%- endif %}
    -- The last of a flag's absences that ended before the cutoff stays. It keeps the evaluations of all such absences
    -- in the spell that lasts beyond the cutoff, and records that some calls leave the flag out.
    {% call temporary_table('ended_absences') %}
    select
        absences.environment,
        absences.identity,
        absences.feature_id,
        max(absences.absent_from) as absent_from,
        coalesce(sum(absences.evaluation_count) filter (where absences.absent_from > spells.valid_from), 0) as evaluation_count
    from {{ model.relation }} as absences
    inner join {{ pruned() }} as pruned
        on absences.environment = pruned.environment and absences.absent_to <= pruned.pruned_before
    left join {{ assignments }} as spells
        on
            absences.environment = spells.environment
            and absences.identity = spells.identity
            and absences.feature_id = spells.feature_id
            and spells.valid_from <= pruned.pruned_before
    group by absences.environment, absences.identity, absences.feature_id
    {%- endcall %};

    {% call delete_matching(model.relation, 'target', 'ended_absences') %}
        target.environment = ended_absences.environment
        and target.identity = ended_absences.identity
        and target.feature_id = ended_absences.feature_id
        and target.absent_from < ended_absences.absent_from
    {%- endcall %};

    {% call update_matching(model.relation, 'target', {'evaluation_count': 'ended_absences.evaluation_count'}, 'ended_absences') %}
        target.environment = ended_absences.environment
        and target.identity = ended_absences.identity
        and target.feature_id = ended_absences.feature_id
        and target.absent_from = ended_absences.absent_from
    {%- endcall %};
{% endmacro %}

{#- Prunes states. -#}
{% macro prune_states(model) %}
    {%- set deliveries = flagsmith_warehouse.built_model('int_deliveries') -%}
    {%- set holding_states = flagsmith_warehouse.models_of_retention('states_from') %}
    -- A state that lasts beyond the cutoff is split at the first delivery that is left. From there on it can be
    -- computed from deliveries again; the part before is a row that no build changes.
    {% call temporary_table('continued') %}
    with in_order as (

        select *, lead(valid_from) over (partition by environment, identity order by valid_from) as next_from
        from {{ model.relation }}

    ),

    sightings as (

        select
            deliveries.environment,
            deliveries.identity,
            deliveries.received_at,
            deliveries.flags_hash,
            row_number() over (
                partition by deliveries.environment, deliveries.identity, deliveries.received_at
                order by deliveries.delivery_id desc
            ) as recency
        from {{ deliveries }} as deliveries
        inner join {{ pruned() }} as pruned
            on deliveries.environment = pruned.environment and deliveries.received_at >= pruned.pruned_before
        where deliveries.kind = 'evaluation' and not deliveries.is_test_identity

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
    where sightings.recency = 1
    group by in_order.environment, in_order.identity, in_order.valid_from
    {%- endcall %};

    {% set columns = flagsmith_warehouse.relation_columns(model.relation.render()) -%}
    {%- set cut_columns = {
        'valid_from': 'continued.continued_from',
        'flag_evaluation_count': 'continued.flag_evaluation_count',
        'earlier_flag_evaluation_count':
            'states.earlier_flag_evaluation_count + states.flag_evaluation_count - continued.flag_evaluation_count',
    } -%}
    insert into {{ model.relation }}
    select
        {%- for column in columns %}
        {{ cut_columns.get(column, 'states.' ~ column) }} as {{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ model.relation }} as states
    inner join continued
        on
            states.environment = continued.environment
            and states.identity = continued.identity
            and states.valid_from = continued.valid_from;

    {% call update_matching(model.relation, 'states', {
        'flag_evaluation_count': 'states.flag_evaluation_count - continued.flag_evaluation_count',
        'valid_to': 'continued.continued_from',
    }, 'continued') %}
        states.environment = continued.environment
        and states.identity = continued.identity
        and states.valid_from = continued.valid_from
    {%- endcall %};

    -- Later builds need these states from before the cutoff: an identity's last state with flags, with segments and
    -- with traits, the first state of each spell that is left, and the state in which an absent flag was last seen.
    {% call delete_matching(model.relation, 'target', pruned() ~ ' as pruned') %}
        target.environment = pruned.environment
        and target.valid_from < pruned.pruned_before
        and (target.environment, target.identity, target.valid_from) not in (
            {%- for column in ['flags_hash', 'segments_hash', 'traits_hash', 'identity'] %}
            select states.environment, states.identity, max(states.valid_from)
            from {{ model.relation }} as states
            inner join {{ pruned() }} as pruned
                on states.environment = pruned.environment and states.valid_from < pruned.pruned_before
            where states.{{ column }} is not null
            group by states.environment, states.identity
            {{ 'union all' if not loop.last or holding_states }}
            {%- endfor %}
            {%- for model in holding_states %}
            select environment, identity, {{ model.retention.states_from }} from {{ model.relation }}
            {{ 'union all' if not loop.last }}
            {%- endfor %}
        )
    {%- endcall %};
{% endmacro %}
