{#- What is replaced together when something has changed, by the name that a model gives in `meta.replaces`: the columns
    by which it is known (`columns`), and whether only what comes after a moment of it is replaced (`rebuilt_from`).
      identity   all of an identity
      spell      of an identity, the spells that had not ended before the state in which the change lies
      state      of an identity, the states from that one on
      hour, day  all of an environment's hour, or day
      days       of an environment, the days from a day on -#}
{% macro replaced_unit() %}
    {%- set units = {
        'identity': {'columns': ['environment', 'identity'], 'is_in_part': false},
        'spell': {'columns': ['environment', 'identity'], 'is_in_part': true},
        'state': {'columns': ['environment', 'identity'], 'is_in_part': true},
        'hour': {'columns': ['environment', 'hour'], 'is_in_part': false},
        'day': {'columns': ['environment', 'day'], 'is_in_part': false},
        'days': {'columns': ['environment'], 'is_in_part': true},
    } -%}
    {{ return(units.get(flagsmith_warehouse.says('replaces'))) }}
{% endmacro %}

{#- What the model in hand says in its `meta`. Nothing is known of it while parsing, and in a unit test. -#}
{% macro says(name) %}
    {{ return((config.get('meta') or {}).get(name)) }}
{% endmacro %}

{#- The columns of the model in hand with the beginning and the end of its spells, and that of int_state_spells that they follow. -#}
{% macro spell_columns() %}
    {%- set columns = {'begins': 'valid_from', 'ends': 'valid_to', 'of': none} -%}
    {%- do columns.update(flagsmith_warehouse.says('spell') or {}) -%}
    {{ return(columns) }}
{% endmacro %}

{#- The relation of one of our models. Unlike `ref` it makes no dependency: whoever asks depends on it by another model. -#}
{% macro model_relation(name) %}
    {%- set node = graph.nodes['model.flagsmith_warehouse.' ~ name] -%}
    {{ return(api.Relation.create(database=node.database, schema=node.schema, identifier=node.alias)) }}
{% endmacro %}

{#- The table of the keys of what has changed, made by the materialisation. -#}
{% macro changed_keys_table() %}
    {{ return('changed_for_' ~ this.identifier) }}
{% endmacro %}

{#- A query: the keys of what has changed, with `rebuilt_from` where it is replaced in part. None where rows are only
    added. -#}
{% macro changed_keys() %}
    {%- set replaces = flagsmith_warehouse.says('replaces') -%}
    {%- if replaces == 'identity' -%}
        {{ return(flagsmith_warehouse.changed_identities()) }}
    {%- elif replaces in ['spell', 'state'] -%}
        {{ return(flagsmith_warehouse.changed_spells(replaces)) }}
    {%- elif replaces == 'hour' -%}
        {{ return(flagsmith_warehouse.changed_hours()) }}
    {%- elif replaces == 'day' -%}
        {{ return(flagsmith_warehouse.changed_days()) }}
    {%- elif replaces == 'days' -%}
        {{ return(flagsmith_warehouse.days_to_count()) }}
    {%- endif -%}
{% endmacro %}

{#- Statements with which an increment begins that are the model's own, by the name in `meta.prepares`. -#}
{% macro preparations() %}
    {%- set prepares = flagsmith_warehouse.says('prepares') -%}
    {%- if prepares == 'kept_flags' -%}
        {{ return(flagsmith_warehouse.describe_kept_flags() | trim) }}
    {%- endif -%}
{% endmacro %}

{#- Condition between `target`, the model's rows, and `changed`, the table of what has changed: the row is replaced. None
    where rows are only added. -#}
{% macro is_replaced() %}
    {%- set unit = flagsmith_warehouse.replaced_unit() -%}
    {%- if not unit -%}{{ return(none) }}{%- endif -%}
    {%- set conditions = [] -%}
    {%- for key in unit.columns -%}{%- do conditions.append('target.' ~ key ~ ' = changed.' ~ key) -%}{%- endfor -%}
    {%- set replaces = flagsmith_warehouse.says('replaces') -%}
    {%- if replaces == 'spell' -%}
        {%- set ends = 'target.' ~ flagsmith_warehouse.spell_columns().ends -%}
        {%- do conditions.append('(' ~ ends ~ ' > changed.rebuilt_from or ' ~ ends ~ ' is null)') -%}
    {%- elif replaces == 'state' -%}
        {%- do conditions.append('target.' ~ flagsmith_warehouse.spell_columns().begins ~ ' >= changed.rebuilt_from') -%}
    {%- elif replaces == 'days' -%}
        {%- do conditions.append('target.day >= changed.rebuilt_from') -%}
    {%- endif -%}
    {{ return(conditions | join(' and ')) }}
{% endmacro %}

{#- A query: each identity with evaluations that are new to the model, and the time of receipt of the earliest. Nothing
    the model knows from before that moment can change. -#}
{% macro changed_identities() %}
    select environment, identity, min(received_at) as changed_from
    from {{ flagsmith_warehouse.model_relation('int_deliveries') }} as deliveries
    where {{ flagsmith_warehouse.is_new('deliveries') }} and kind = 'evaluation' and not is_test_identity
    group by environment, identity
{% endmacro %}

{#- A query: the same with rebuilt_from, the beginning of the last state before the change (the beginning of time where
    there was none). A model of spells need be rebuilt no further back. A state from before retention's cutoff is not
    rebuilt: the deliveries it was made of are gone. -#}
{% macro changed_spells(replaces) %}
    select
        fresh.environment,
        fresh.identity,
        {% if replaces == 'state' -%}
        greatest(coalesce(
            max(states.valid_from) filter (where states.valid_from < fresh.changed_from), timestamp '0001-01-01'
        ), {{ pruned_before('fresh.environment') }}) as rebuilt_from
        {%- else -%}
        coalesce(
            max(states.valid_from) filter (where states.valid_from < fresh.changed_from), timestamp '0001-01-01'
        ) as rebuilt_from
        {%- endif %}
    from ({{ flagsmith_warehouse.changed_identities() }}) as fresh
    left join {{ this if replaces == 'state' else flagsmith_warehouse.model_relation('int_state_spells') }} as states
        on
            fresh.environment = states.environment
            and fresh.identity = states.identity
            {%- if replaces == 'spell' %}
            and states.{{ flagsmith_warehouse.spell_columns().of }} is not null
            {%- endif %}
    group by fresh.environment, fresh.identity, fresh.changed_from
{% endmacro %}

{#- A query: the environments and hours of new deliveries of every kind. -#}
{% macro changed_hours() %}
    select distinct environment, date_trunc('hour', received_at) as hour
    from {{ flagsmith_warehouse.model_relation('int_deliveries') }} as deliveries
    where {{ flagsmith_warehouse.is_new('deliveries') }}
{% endmacro %}

{#- A query: the environments and days in which evaluations lie that may count otherwise now: from the earliest new one of
    an identity on, every day on which that identity was evaluated (a late one moves its first exposure). -#}
{% macro changed_days() %}
    select distinct deliveries.environment, cast(deliveries.received_at as date) as day
    from {{ flagsmith_warehouse.model_relation('int_deliveries') }} as deliveries
    inner join ({{ flagsmith_warehouse.changed_identities() }}) as fresh
        on
            deliveries.environment = fresh.environment
            and deliveries.identity = fresh.identity
            and deliveries.received_at >= fresh.changed_from
{% endmacro %}

{#- A query: for a model of daily counts that is computed from spells, every day anew: one row per environment, with the
    day before which counts stay as they are, since spells that ended before it may have been pruned. -#}
{% macro days_to_count() %}
    select
        counted.environment,
        least(cast({{ pruned_before('counted.environment') }} as date), counted.last_day + 1) as rebuilt_from
    from (select environment, max(day) as last_day from {{ this }} group by environment) as counted
{% endmacro %}
