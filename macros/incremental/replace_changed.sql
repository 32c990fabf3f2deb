{#- The incremental strategy of this project: what a build's new deliveries can have changed is deleted and written
    again, inside one transaction. The model says which rows those are in two places: the pre-hook
    (`find_changed…`) fills the temporary table `changed_for_<model>`, and `meta.replaces` is the condition between
    `target` (the model's rows) and `changed` (that table). Without `replaces` rows are only added. Where the model
    rebuilds itself in full, everything is replaced. -#}
{% macro get_incremental_replace_changed_sql(arg_dict) %}
    {%- set target_relation = arg_dict['target_relation'] -%}
    {%- set replaces = config.get('meta', {}).get('replaces') -%}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}
    {%- if not builds_on_itself() %}
    delete from {{ target_relation }};
    {%- elif replaces %}
    delete from {{ target_relation }} as target using {{ changed() }} as changed where {{ replaces }};
    {%- endif %}
    insert into {{ target_relation }} ({{ columns }}) select {{ columns }} from {{ arg_dict['temp_relation'] }}
{% endmacro %}

{#- Name of the temporary table in which a model's pre-hook puts what has changed for it. -#}
{% macro changed() %}
    {{ return('changed_for_' ~ this.identifier) }}
{% endmacro %}

{#- A query: when the earliest evaluation of each identity was received of those that are new to the model in hand. -#}
{% macro first_new_evaluations() %}
    select environment, identity, min(received_at) as changed_from
    from {{ ref('int_deliveries') }}
    where {{ is_to_be_taken_in() }} and kind = 'evaluation' and not is_test_identity
    group by all
{% endmacro %}

{#- Pre-hook: one row per environment and identity with evaluations that are new to this model.
    changed_from: received_at of the earliest of them. Nothing the model knows from before that moment can change. -#}
{% macro find_changed_identities() %}
    {%- if builds_on_itself() %}
    create or replace temporary table {{ changed() }} as
    {{ first_new_evaluations() }}
    {%- endif %}
{% endmacro %}

{#- Pre-hook: the same for a model of spells, which need be rebuilt no further back than the last state before the
    change. rebuilt_from: beginning of that state (the beginning of time where there was none).
    `said`: the column of int_state_spells that says something of the model's subject (flags_hash, …). -#}
{% macro find_changed_spells(said) %}
    {%- if builds_on_itself() %}
    create or replace temporary table {{ changed() }} as
    select
        fresh.environment,
        fresh.identity,
        coalesce(
            max(spells.valid_from) filter (where spells.valid_from < fresh.changed_from), timestamp '0001-01-01'
        ) as rebuilt_from
        {%- if said == 'itself' and is_pruned() %},
        max(pruned.pruned_before) as pruned_before
        {%- endif %}
    from ({{ first_new_evaluations() }}) as fresh
    left join {{ this if said == 'itself' else ref('int_state_spells') }} as spells
        on
            fresh.environment = spells.environment
            and fresh.identity = spells.identity
            {%- if said != 'itself' %}
            and spells.{{ said }} is not null
            {%- endif %}
    {%- if said == 'itself' and is_pruned() %}
    left join {{ pruned() }} as pruned on fresh.environment = pruned.environment
    {%- endif %}
    group by fresh.environment, fresh.identity, fresh.changed_from
    {%- if said == 'itself' and is_pruned() %};
    -- A state from before retention's cutoff is not rebuilt: the deliveries it was made of are gone.
    update {{ changed() }} set rebuilt_from = greatest(rebuilt_from, pruned_before) where pruned_before is not null
    {%- endif %}
    {%- endif %}
{% endmacro %}

{#- Pre-hook: the environments and periods (`day` or `hour`) in which evaluations lie that may count otherwise now:
    from the earliest new one of an identity on, every period in which that identity was evaluated (a late one moves
    its first exposure). For `hour`, only the hours of the new deliveries themselves, of every kind. -#}
{% macro find_changed_periods(period) %}
    {%- if builds_on_itself() %}
    create or replace temporary table {{ changed() }} as
    {% if period == 'hour' -%}
    select distinct environment, date_trunc('hour', received_at) as hour
    from {{ ref('int_deliveries') }}
    where {{ is_to_be_taken_in() }}
    {%- else -%}
    select distinct deliveries.environment, cast(deliveries.received_at as date) as day
    from {{ ref('int_deliveries') }} as deliveries
    inner join ({{ first_new_evaluations() }}) as fresh
        on
            deliveries.environment = fresh.environment
            and deliveries.identity = fresh.identity
            and deliveries.received_at >= fresh.changed_from
    {%- endif %}
    {%- endif %}
{% endmacro %}
