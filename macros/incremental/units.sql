{#- The unit that a model replaces as a whole when something in it has changed; `meta.replaces` names it. `columns` is its
    key. `is_in_part`: only its rows from a moment on (`rebuilt_from`) are replaced.
      identity   all rows of an identity
      spell      the spells of an identity, except those that ended before the state in which the change lies
      state      the states of an identity, from the one in which the change lies
      hour, day  all rows of an environment and hour, or day
      days       the rows of an environment from a day on -#}
{% macro replaced_unit() %}
    {%- set units = {
        'identity': {'columns': ['environment', 'identity'], 'is_in_part': false},
        'spell': {'columns': ['environment', 'identity'], 'is_in_part': true},
        'state': {'columns': ['environment', 'identity'], 'is_in_part': true},
        'hour': {'columns': ['environment', 'hour'], 'is_in_part': false},
        'day': {'columns': ['environment', 'day'], 'is_in_part': false},
        'days': {'columns': ['environment'], 'is_in_part': true},
    } -%}
    {{ return(units.get(flagsmith_warehouse.model_meta('replaces'))) }}
{% endmacro %}

{#- A value from the `meta` of the current model; none while parsing, and in a unit test. -#}
{% macro model_meta(name) %}
    {{ return((config.get('meta') or {}).get(name)) }}
{% endmacro %}

{#- The current model's columns for the beginning and end of a spell, and the column of int_state_spells that its spells follow. -#}
{% macro spell_columns() %}
    {%- set columns = {'begins': 'valid_from', 'ends': 'valid_to', 'of': none} -%}
    {%- do columns.update(flagsmith_warehouse.model_meta('spell') or {}) -%}
    {{ return(columns) }}
{% endmacro %}

{#- The relation of one of our models. Unlike `ref`, this creates no dependency: the caller depends on it through other models. -#}
{% macro model_relation(name) %}
    {%- set node = graph.nodes['model.flagsmith_warehouse.' ~ name] -%}
    {{ return(api.Relation.create(database=node.database, schema=node.schema, identifier=node.alias)) }}
{% endmacro %}

{#- The table with the keys of the units that have changed. The materialisation creates it. -#}
{% macro changed_keys_table() %}
    {{ return('changed_for_' ~ this.identifier) }}
{% endmacro %}

{#- A query: the keys of the units that have changed, with `rebuilt_from` if they are replaced in part. None for a model that
    only adds rows. -#}
{% macro changed_keys() %}
    {%- set replaces = flagsmith_warehouse.model_meta('replaces') -%}
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

{#- The model's own statements that run before an increment, as a list; `meta.prepares` names them. -#}
{% macro preparations() %}
    {%- set prepares = flagsmith_warehouse.model_meta('prepares') -%}
    {%- if prepares == 'kept_flags' -%}
        {{ return(flagsmith_warehouse.describe_kept_flags()) }}
    {%- endif -%}
    {{ return([]) }}
{% endmacro %}

{#- Join condition between `target`, the model's rows, and `changed`, the table of changed keys: true for rows to replace.
    None for a model that only adds rows. -#}
{% macro is_replaced() %}
    {%- set unit = flagsmith_warehouse.replaced_unit() -%}
    {%- if not unit -%}{{ return(none) }}{%- endif -%}
    {%- set conditions = [] -%}
    {%- for key in unit.columns -%}{%- do conditions.append('target.' ~ key ~ ' = changed.' ~ key) -%}{%- endfor -%}
    {%- set replaces = flagsmith_warehouse.model_meta('replaces') -%}
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

{#- A query: each identity with evaluations that are new to the model, and the time of receipt of the earliest. Rows of the
    model from before that moment cannot change. -#}
{% macro changed_identities() %}
    select environment, identity, min(received_at) as changed_from
    from {{ flagsmith_warehouse.model_relation('int_deliveries') }} as deliveries
    where {{ flagsmith_warehouse.is_new('deliveries') }} and kind = 'evaluation' and not is_test_identity
    group by environment, identity
{% endmacro %}

{#- A query: the same identities with rebuilt_from, the beginning of the last state before the change (the beginning of time
    if there was none). A model of spells need not be rebuilt further back. A state from before retention's cutoff is not
    rebuilt, because its deliveries are gone. -#}
{% macro changed_spells(replaces) %}
    {%- if replaces == 'state' %}
    select environment, identity, greatest(begins, {{ pruned_before('changed_spells.environment') }}) as rebuilt_from
    from (
    {%- endif %}
    select
        fresh.environment,
        fresh.identity,
        coalesce(
            max(states.valid_from) filter (where states.valid_from < fresh.changed_from), timestamp '0001-01-01'
        ) as {{ 'begins' if replaces == 'state' else 'rebuilt_from' }}
    from ({{ flagsmith_warehouse.changed_identities() }}) as fresh
    left join {{ this if replaces == 'state' else flagsmith_warehouse.model_relation('int_state_spells') }} as states
        on
            fresh.environment = states.environment
            and fresh.identity = states.identity
            {%- if replaces == 'spell' %}
            and states.{{ flagsmith_warehouse.spell_columns().of }} is not null
            {%- endif %}
    group by fresh.environment, fresh.identity, fresh.changed_from
    {%- if replaces == 'state' %}
    ) as changed_spells
    {%- endif %}
{% endmacro %}

{#- A query: the environments and hours of new deliveries of every kind. -#}
{% macro changed_hours() %}
    select distinct environment, date_trunc('hour', received_at) as hour
    from {{ flagsmith_warehouse.model_relation('int_deliveries') }} as deliveries
    where {{ flagsmith_warehouse.is_new('deliveries') }}
{% endmacro %}

{#- A query: the environments and days to count again. These are, for each identity with a new evaluation, all days with its
    evaluations from the earliest new one on. (A late evaluation can move the identity's first exposure.) -#}
{% macro changed_days() %}
    select distinct deliveries.environment, cast(deliveries.received_at as date) as day
    from {{ flagsmith_warehouse.model_relation('int_deliveries') }} as deliveries
    inner join ({{ flagsmith_warehouse.changed_identities() }}) as fresh
        on
            deliveries.environment = fresh.environment
            and deliveries.identity = fresh.identity
            and deliveries.received_at >= fresh.changed_from
{% endmacro %}

{#- A query for a model that counts every day anew, from spells: one row per environment, with the first day to count. Counts
    of earlier days stay as they are, because spells that ended before it may have been pruned. -#}
{% macro days_to_count() %}
    select
        counted.environment,
        least(cast({{ pruned_before('counted.environment') }} as date), counted.last_day + 1) as rebuilt_from
    from (select environment, max(day) as last_day from {{ this }} group by environment) as counted
{% endmacro %}
