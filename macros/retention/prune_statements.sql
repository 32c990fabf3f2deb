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

{#- Our built models whose `meta.retention` has the key `name`, each with its `name`, `relation` and `retention`. -#}
{% macro models_of_retention(name) %}
    {%- set models = [] -%}
    {%- for node in flagsmith_warehouse.our_models() if name in (node.config.meta.get('retention') or {}) and flagsmith_warehouse.built_model(node.name) -%}
        {%- do models.append({
            'name': node.name, 'relation': flagsmith_warehouse.built_model(node.name), 'retention': node.config.meta.retention,
        }) -%}
    {%- endfor -%}
    {{ return(models) }}
{% endmacro %}

{#- The models with rows from before a cutoff that cannot be computed again, as a list of SQL texts. -#}
{% macro models_that_hold_history() %}
    {%- set names = [] -%}
    {%- for node in flagsmith_warehouse.our_models() if flagsmith_warehouse.is_an_increment(node) -%}
        {%- set retention = node.config.meta.get('retention') or {} -%}
        {%- if not ('received' in retention or 'payloads' in retention or retention.get('is_remade')) -%}
            {%- do names.append(text_literal(node.name)) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(names | sort) }}
{% endmacro %}

{#- What deletes everything from before the cutoffs in the table `pruned`, in order: a list of {model (a name; none for the landing), relation,
    statement}. A row is deleted after the rows that refer to it. A statement that runs twice does nothing the second time, even
    if statements after it have run in between: an engine without transactions over several tables goes on where it was killed. -#}
{% macro prune_statements(landing) %}
    {%- set steps = [] -%}
    {%- for model in flagsmith_warehouse.models_of_retention('ended') -%}
        {%- do steps.append((model, flagsmith_warehouse.prune_rows(model.relation, model.retention.ended, '<='))) -%}
    {%- endfor -%}
    {%- for model in flagsmith_warehouse.models_of_retention('absences') if flagsmith_warehouse.built_model('fct_flag_assignments') -%}
        {%- do steps.append((model, flagsmith_warehouse.prune_absences(model.relation))) -%}
    {%- endfor -%}
    {%- for model in flagsmith_warehouse.models_of_retention('states') -%}
        {%- do steps.append((model, flagsmith_warehouse.prune_states(model.relation))) -%}
    {%- endfor -%}
    {%- do steps.append(({'name': none, 'relation': landing}, flagsmith_warehouse.prune_rows(landing, 'received_at', '<'))) -%}
    {%- for model in flagsmith_warehouse.models_of_retention('received') -%}
        {%- do steps.append((model, flagsmith_warehouse.prune_rows(model.relation, model.retention.received, '<'))) -%}
    {%- endfor -%}
    {%- for model in flagsmith_warehouse.models_of_retention('payloads') -%}
        {%- do steps.append((model, flagsmith_warehouse.prune_payloads(model))) -%}
        {%- do steps.append((model, flagsmith_warehouse.name_payloads_anew(model))) -%}
    {%- endfor -%}
    {%- for model in flagsmith_warehouse.models_of_retention('sets') -%}
        {%- do steps.append((model, flagsmith_warehouse.prune_sets(model))) -%}
    {%- endfor -%}
    {%- set statements = [] -%}
    {%- for model, statement in steps -%}
        {%- do statements.append({'model': model.name, 'relation': model.relation, 'statement': statement | trim}) -%}
    {%- endfor -%}
    {{ return(statements) }}
{% endmacro %}

{#- Deletes rows with a moment before the cutoff. -#}
{% macro prune_rows(relation, moment, compared) %}
    {%- call delete_matching(relation, 'target', pruned() ~ ' as pruned') %}
        target.environment = pruned.environment and target.{{ moment }} {{ compared }} pruned.pruned_before
    {%- endcall %}
{% endmacro %}

{#- Deletes bodies without a delivery. -#}
{% macro prune_payloads(model) %}
    {%- set hash = model.retention.payloads %}
    delete from {{ model.relation }}
    where {{ hash }} not in (select {{ hash }} from {{ flagsmith_warehouse.built_model('stg_flagsmith__deliveries') }})
{% endmacro %}

{#- Makes bodies name a delivery that is left. -#}
{% macro name_payloads_anew(model) %}
    {%- set hash = model.retention.payloads -%}
    {%- set deliveries = flagsmith_warehouse.built_model('stg_flagsmith__deliveries') -%}
    {%- set left_over -%}
    (
        select deliveries.{{ hash }}, min(deliveries.delivery_id) as delivery_id
        from {{ deliveries }} as deliveries
        inner join {{ model.relation }} as payloads on deliveries.{{ hash }} = payloads.{{ hash }}
        where payloads._delivery_id not in (select delivery_id from {{ deliveries }})
        group by deliveries.{{ hash }}
    ) as left_over
    {%- endset -%}
    {% call update_matching(model.relation, 'payloads', {'_delivery_id': 'left_over.delivery_id'}, left_over) %}
        payloads.{{ hash }} = left_over.{{ hash }}
    {%- endcall %}
{% endmacro %}

{#- Deletes sets of flags, segments or traits that neither a body nor a state refers to. -#}
{% macro prune_sets(model) %}
    {%- set hash = model.retention.sets %}
    delete from {{ model.relation }}
    where
        true
        {%- for name in ['stg_flagsmith__payloads', 'int_state_spells'] %}
        and {{ hash }} not in (select {{ hash }} from {{ flagsmith_warehouse.built_model(name) }} where {{ hash }} is not null)
        {%- endfor %}
{% endmacro %}

{#- Prunes absences of flags. The last of a flag's absences that ended before the cutoff stays. It keeps the evaluations of all such
    absences in the spell that lasts beyond the cutoff, and records that some calls leave the flag out. -#}
{% macro prune_absences(absences) %}
    merge into {{ absences }} as target
    using (
        select
            absences.environment,
            absences.identity,
            absences.feature_id,
            max(absences.absent_from) as absent_from,
            coalesce(
                sum(absences.evaluation_count) filter (where absences.absent_from > spells.valid_from), 0
            ) as evaluation_count
        from {{ absences }} as absences
        inner join {{ pruned() }} as pruned
            on absences.environment = pruned.environment and absences.absent_to <= pruned.pruned_before
        left join {{ flagsmith_warehouse.built_model('fct_flag_assignments') }} as spells
            on
                absences.environment = spells.environment
                and absences.identity = spells.identity
                and absences.feature_id = spells.feature_id
                and spells.valid_from <= pruned.pruned_before
        group by absences.environment, absences.identity, absences.feature_id
    ) as ended
    on
        target.environment = ended.environment
        and target.identity = ended.identity
        and target.feature_id = ended.feature_id
        and target.absent_from <= ended.absent_from
    when matched and target.absent_from < ended.absent_from then delete
    when matched then update set evaluation_count = ended.evaluation_count
{% endmacro %}

{#- Prunes states. A state that lasts beyond the cutoff is split at the first delivery that is left. From there on it can be computed
    from deliveries again; the part before is a row that no build changes.

    Later builds need these states from before the cutoff: an identity's last state with flags, with segments and with traits, the
    first state of each spell that is left, and the state in which an absent flag was last seen. The others are deleted. -#}
{% macro prune_states(states) %}
    {%- set columns = flagsmith_warehouse.relation_columns(states.render()) -%}
    {%- set changes = {
        'cut': {
            'valid_to': 'continued.continued_from',
            'flag_evaluation_count': 'states.flag_evaluation_count - continued.flag_evaluation_count',
        },
        'continued': {
            'valid_from': 'continued.continued_from',
            'flag_evaluation_count': 'continued.flag_evaluation_count',
            'earlier_flag_evaluation_count':
                'states.earlier_flag_evaluation_count + states.flag_evaluation_count - continued.flag_evaluation_count',
        },
    } %}
    merge into {{ states }} as target
    using (
        with earlier as (

            select states.*, lead(states.valid_from) over (partition by states.environment, states.identity order by states.valid_from) as next_from
            from {{ states }} as states

        ),

        {{ flagsmith_warehouse.states_across_the_cutoff() }},

        needed as (

            {{ flagsmith_warehouse.states_needed_later(states) }}

        )
        {% for what, changed in changes.items() %}
        select
            '{{ what }}' as _becomes
            {%- for column in columns %},
            {{ changed.get(column, 'states.' ~ column) }} as {{ column }}
            {%- endfor %}
        from {{ states }} as states
        inner join continued
            on
                states.environment = continued.environment
                and states.identity = continued.identity
                and states.valid_from = continued.valid_from

        union all
        {% endfor %}
        select
            'deleted' as _becomes
            {%- for column in columns %},
            states.{{ column }}
            {%- endfor %}
        from {{ states }} as states
        inner join {{ pruned() }} as pruned
            on states.environment = pruned.environment and states.valid_from < pruned.pruned_before
        left join needed
            on
                states.environment = needed.environment
                and states.identity = needed.identity
                and states.valid_from = needed.valid_from
        where needed.identity is null
    ) as changed
    on
        changed._becomes <> 'continued'
        and target.environment = changed.environment
        and target.identity = changed.identity
        and target.valid_from = changed.valid_from
    when matched and changed._becomes = 'deleted' then delete
    when matched then update set
        valid_to = changed.valid_to,
        flag_evaluation_count = changed.flag_evaluation_count
    when not matched and changed._becomes = 'continued' then insert ({{ columns | join(', ') }})
        values (changed.{{ columns | join(', changed.') }})
{% endmacro %}

{#- CTEs: `continued`, the states of `earlier` that last beyond the cutoff, each with the first delivery that is left. -#}
{% macro states_across_the_cutoff() %}
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
            from {{ flagsmith_warehouse.built_model('int_deliveries') }} as deliveries
            inner join {{ pruned() }} as pruned
                on deliveries.environment = pruned.environment and deliveries.received_at >= pruned.pruned_before
            where deliveries.kind = 'evaluation' and not deliveries.is_test_identity

        ),

        continued as (

            select
                earlier.environment,
                earlier.identity,
                earlier.valid_from,
                min(sightings.received_at) as continued_from,
                count(sightings.flags_hash) as flag_evaluation_count
            from earlier
            inner join {{ pruned() }} as pruned
                on earlier.environment = pruned.environment and earlier.valid_from < pruned.pruned_before
            inner join sightings
                on
                    earlier.environment = sightings.environment
                    and earlier.identity = sightings.identity
                    and (earlier.next_from > sightings.received_at or earlier.next_from is null)
            where sightings.recency = 1
            group by earlier.environment, earlier.identity, earlier.valid_from

        )
{%- endmacro %}

{#- A query: the keys of the states that later builds need, each once. -#}
{% macro states_needed_later(states) %}
            {%- for column in ['flags_hash', 'segments_hash', 'traits_hash', 'identity'] %}
            select states.environment, states.identity, max(states.valid_from) as valid_from
            from {{ states }} as states
            inner join {{ pruned() }} as pruned
                on states.environment = pruned.environment and states.valid_from < pruned.pruned_before
            where states.{{ column }} is not null
            group by states.environment, states.identity
            {{- ' union' if not loop.last }}
            {%- endfor %}
            {%- for model in flagsmith_warehouse.models_of_retention('states_from') %}
            union
            select environment, identity, {{ model.retention.states_from }} as valid_from from {{ model.relation }}
            {%- endfor %}
{%- endmacro %}
