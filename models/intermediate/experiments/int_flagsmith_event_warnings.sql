{{ config(materialized=kept_unless_checked()) }}

{%- set exposure = text_literal(exposure_event()) %}
with experiments as (

    select experiment_key, row_number, environment, feature_name, activation_event
    from {{ ref('int_declared_experiments') }}
    where problem is null and {{ reads_flagsmith_events() | lower }}

),

variants as (
    {{ typed_rows('variants') }}
),

counts as (
    select * from {{ ref('int_flagsmith_event_counts') }}
),

flags as (

    select distinct feature_id, feature_name, variation from {{ ref('int_flag_set_elements') }}
    where {{ reads_flagsmith_events() | lower }}

),

names as (

    -- A feature under experiment by each name that it has had.
    select distinct experiments.experiment_key, experiments.environment, named.feature_name
    from experiments
    inner join flags as declared on experiments.feature_name = declared.feature_name
    inner join flags as named on declared.feature_id = named.feature_id
    union
    select experiment_key, environment, feature_name from experiments

),

unknown_keys as (

    select
        environment_key,
        sum(events) as events,
        row_number() over (order by sum(events) desc, environment_key asc) as place
    from counts
    where environment is null and not is_own
    group by environment_key

),

unknown_variants as (

    select
        counts.feature_name,
        counts.variant_key,
        sum(counts.events) as events,
        row_number() over (partition by counts.feature_name order by sum(counts.events) desc, counts.variant_key asc) as place
    from counts
    where
        counts.is_exposure
        and counts.environment is not null
        and not counts.is_own
        and coalesce(counts.variant_key, '') <> 'control'
        and (counts.environment, counts.feature_name) in (select environment, feature_name from names)
        and not exists (
            select 1 from variants
            where
                counts.feature_name = variants.feature_name
                and counts.variant_key = variants.variant_key
                and not exists (
                    select 1 from variants as others
                    where
                        variants.feature_name = others.feature_name
                        and variants.variant_key = others.variant_key
                        and variants.row_number <> others.row_number
                )
        )
        and not exists (
            select 1 from flags
            where counts.feature_name = flags.feature_name and counts.variant_key = flags.variation
        )
    group by counts.feature_name, counts.variant_key

),

warnings as (

    -- Anybody can make keys up, so only the most frequent ones are listed.
    select
        'environment_key' as column_name,
        environment_key as cell,
        {{ counted('events', 'event') }} || case when coalesce(environment_key, '') = ''
            then ' without an environment_key: left out'
            else ' of an environment_key that vars: flagsmith_environments does not have: left out'
        end as problem,
        case when coalesce(environment_key, '') = '' then 'correct them at their source'
            else 'write its environment there, as in the webhook''s URL: {production: {key: ' || environment_key || '}}'
        end as remedy
    from unknown_keys
    where place <= 20

    union all

    select
        'environment_key' as column_name,
        environment as cell,
        {{ counted('sum(events)', 'event') }} || ' of an environment from which no webhook has come' as problem,
        'write its name in vars: flagsmith_environments as in the webhook''s URL, unless webhooks are still to come' as remedy
    from counts
    where
        environment is not null
        and not is_own
        and environment not in (select environment from {{ ref('int_environments') }})
    group by environment

    union all

    select
        'sdk_language' as column_name,
        'flagsmith-warehouse' as cell,
        {{ counted('sum(events)', 'event') }} || ' that this project made of webhooks (the mart flagsmith_events): left out' as problem,
        'name the table that Flagsmith''s SDKs write to' as remedy
    from counts
    where is_own
    having count(*) > 0

    union all

    select
        unusable_column as column_name,
        feature_name as cell,
        {{ counted('sum(events)', 'exposure') }} || ' of the feature without '
        || case when unusable_column = 'timestamp' then 'a time that can be read' else 'an identifier' end || ': left out' as problem,
        'correct them at their source' as remedy
    from counts
    where
        unusable_column is not null
        and not is_own
        and (environment, feature_name) in (select environment, feature_name from names)
    group by unusable_column, feature_name

    union all

    select
        'value' as column_name,
        {{ joined_texts("case when place <= 5 then coalesce(variant_key, '') end", ', ', 'place') }} as cell,
        {{ counted('sum(events)', 'exposure') }} || ' of ' || feature_name || ' with a variant key that is no variation of it' as problem,
        'write feature_name, variation and variant_key in ' || {{ text_literal(declared_in('variants')) }}
        || ', each key once' as remedy
    from unknown_variants
    group by feature_name

    union all

    select
        'event' as column_name,
        events.event_name as cell,
        'this event is also in ' || min(others.declared_in) || ', and each of them counts' as problem,
        'leave it out of one of the two, if both have the same events' as remedy
    from {{ ref('int_outcome_events') }} as events
    inner join {{ ref('int_outcome_events') }} as others
        on events.event_name = others.event_name and events.declared_in <> others.declared_in
    where events.declared_in = {{ text_literal(var('flagsmith_events_table', none) | string) }}
    group by events.event_name

)

select
    'warning' as severity,
    {{ text_literal(var('flagsmith_events_table', none) | string) }} as declared_in,
    cast(null as bigint) as row_number,
    column_name,
    cast(null as string) as experiment_key,
    cast(null as string) as metric_key,
    cell,
    problem,
    remedy
from warnings

union all

select
    'warning' as severity,
    {{ text_literal(declared_in('experiments')) }} as declared_in,
    row_number,
    'activation_event' as column_name,
    experiment_key,
    cast(null as string) as metric_key,
    {{ exposure }} as cell,
    'no event of the environment ' || environment || ' is an exposure of the feature ' || feature_name as problem,
    'let the SDK send exposures of it, unless they are still to come' as remedy
from experiments
where
    activation_event = {{ exposure }}
    and not exists (
        select 1 from names
        inner join counts on names.environment = counts.environment and names.feature_name = counts.feature_name
        where experiments.experiment_key = names.experiment_key and counts.is_exposure and not counts.is_own
    )
