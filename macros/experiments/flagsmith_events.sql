{#- Flagsmith's own events: what `var('flagsmith_events_table')` names, a relation of the shape of its table `events`. Without it no
    model reads any. -#}
{% macro reads_flagsmith_events() %}
    {#- While dbt parses, as if there were one: so it learns of every model that may be read. -#}
    {{ return(true if not execute or var('flagsmith_events_table', none) else false) }}
{% endmacro %}

{#- The event that says an identity was exposed to a flag. -#}
{% macro exposure_event() %}{{ return('$flag_exposure') }}{% endmacro %}

{#- The columns that are read: which types each may be (none: whatever can be cast to a text), and whether it may be missing. -#}
{% macro flagsmith_event_columns() %}
    {%- set text = {'types': ['text'], 'is_optional': false} -%}
    {%- set time = dict(text, types=['timestamp', 'timestamp with time zone', 'text']) -%}
    {{ return({
        'environment_key': text,
        'event': text,
        'feature_name': text,
        'timestamp': time,
        'collected_at': time,
        'identifier': dict(text, types=['text', 'integer']),
        'value': dict(text, types=['text', 'integer', 'decimal', 'float']),
        'metadata': dict(text, types=none),
        'sdk_language': dict(text, is_optional=true),
    }) }}
{% endmacro %}

{#- The columns that the relation has, {name: type}; none where it does not exist. Types as in Flagsmith's PostgreSQL while nothing
    is built or checked. -#}
{% macro types_of_flagsmith_events() %}
    {%- if reads_flagsmith_events() and (is_built_now() or is_checked_now()) -%}
        {{ return(relation_columns(var('flagsmith_events_table') | string)) }}
    {%- endif -%}
    {%- set columns = {} -%}
    {%- for column in flagsmith_event_columns() -%}{%- do columns.update({column: 'string'}) -%}{%- endfor -%}
    {{ return(dict(columns, timestamp='TIMESTAMP', collected_at='TIMESTAMP', value='double')) }}
{% endmacro %}

{#- What is wrong with the relation as a whole, or with the keys of the environments, as a list of {column_name, cell, problem,
    remedy}. With any of it no event is read. columns: types_of_flagsmith_events(), which asks the engine. -#}
{% macro flagsmith_events_problems(columns) %}
    {%- if not reads_flagsmith_events() or not (is_built_now() or is_checked_now()) -%}{{ return([]) }}{%- endif -%}
    {%- set problems = relation_problems(
        var('flagsmith_events_table') | string, 'flagsmith_events_table', columns, flagsmith_event_columns(),
        "name the table or view with Flagsmith's events in `vars: flagsmith_events_table`, with its schema",
        "name a view that has it, as Flagsmith's table of events does"
    ) -%}
    {%- for key, environments in environments_of_keys().items() if environments | length > 1 -%}
        {%- do problems.append({
            'column_name': 'environment_key', 'cell': key,
            'problem': 'the environments ' ~ environments | join(' and ') ~ ' have the same key in `vars: flagsmith_environments`',
            'remedy': 'give each environment its own client-side key',
        }) -%}
    {%- endfor -%}
    {{ return(problems) }}
{% endmacro %}

{#- The environments that have each client-side key, {key: [name in our route]}. -#}
{% macro environments_of_keys() %}
    {%- set found = {} -%}
    {%- for environment, its in (var('flagsmith_environments', none) or {}).items() if its is mapping and its.get('key') is not none -%}
        {%- do found.setdefault(its['key'] | string, []).append(environment | string) -%}
    {%- endfor -%}
    {{ return(found) }}
{% endmacro %}

{#- An expression: our name of the environment whose client-side key an event has; null for a key that is not declared. -#}
{% macro environment_of_key(key) -%}
    {%- set whens = [] -%}
    {%- for declared, environments in environments_of_keys().items() -%}
        {%- do whens.append('when ' ~ text_literal(declared) ~ ' then ' ~ text_literal(environments[0])) -%}
    {%- endfor -%}
    {{ 'case ' ~ key ~ ' ' ~ whens | join(' ') ~ ' end' if whens else 'cast(null as string)' }}
{%- endmacro %}

{#- Select: the events as they were delivered, typed. `where`: a condition on the columns of the relation, called `events`.
    An event happened when its sender says, but not after it was collected: the clock of a telephone may be wrong, and anybody who
    has the client-side key can send events. -#}
{% macro flagsmith_events(where) %}
{%- set columns = types_of_flagsmith_events() %}
{%- if not reads_flagsmith_events() or flagsmith_events_problems(columns) %}

    -- Nothing is read, or nothing can be: int_outcome_problems says why.
    select
        cast(null as string) as environment,
        cast(null as string) as environment_key,
        cast(null as string) as event_name,
        cast(null as string) as feature_name,
        cast(null as string) as identity,
        cast(null as string) as value_cell,
        cast(null as double) as value,
        cast(null as string) as metadata,
        cast(null as string) as occurred_at_cell,
        false as is_own,
        cast(null as timestamp) as occurred_at,
        cast(null as timestamp) as collected_at
    from (select 1 as nothing) as nowhere
    where 1 = 0
{%- else %}

    select
        {{ environment_of_key('environment_key') }} as environment,
        environment_key,
        event_name,
        feature_name,
        identity,
        value_cell,
        value,
        metadata,
        occurred_at_cell,
        is_own,
        case when collected_at < happened_at then collected_at else happened_at end as occurred_at,
        case when {{ is_finite_time('collected_at') }} then collected_at end as collected_at
    from (
        select
            cast(events.environment_key as string) as environment_key,
            cast(events.event as string) as event_name,
            cast(events.feature_name as string) as feature_name,
            cast(events.identifier as string) as identity,
            events.value as value_cell,
            {{ outcome_value('events.value', columns.value) }} as value,
            cast(events.metadata as string) as metadata,
            events.timestamp as occurred_at_cell,
            {{ "coalesce(cast(events.sdk_language as string) = 'flagsmith-warehouse', false)" if 'sdk_language' in columns else 'false' }} as is_own,
            {{ time_in_utc('events.timestamp', columns.timestamp) }} as happened_at,
            {{ time_in_utc('events.collected_at', columns.collected_at) }} as collected_at
        from {{ var('flagsmith_events_table') }} as events
        where {{ where }}
    ) as delivered
{%- endif %}
{% endmacro %}
