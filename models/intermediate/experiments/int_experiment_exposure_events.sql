{{ config(materialized='table_in_place') }}

{%- set is_mapped = has_identity_map() %}

with features as (

    select
        experiments.experiment_key,
        experiments.environment,
        experiments.started_at,
        experiments.ended_at,
        experiments.last_received_at,
        features.feature_id
    from {{ ref('int_experiments') }} as experiments
    inner join {{ ref('int_experiment_features') }} as features
        on experiments.experiment_key = features.experiment_key and features.is_under_experiment
    -- Without events no feature is looked for, and so no delivery is read.
    where {{ reads_flagsmith_events() | lower }}

),

flag_sets as (

    select
        environment,
        flags_hash,
        min(received_at) as first_received_at
    from {{ ref('int_deliveries') }}
    where
        kind = 'evaluation'
        and not is_test_identity
        and environment in (select environment from features)
    group by environment, flags_hash

),

first_times as (

    -- When each feature first had each of the names that a feature under experiment has had.
    select
        flag_sets.environment,
        elements.feature_name,
        elements.feature_id,
        min(flag_sets.first_received_at) as first_named_at
    from flag_sets
    inner join {{ ref('int_flag_set_elements') }} as elements on flag_sets.flags_hash = elements.flags_hash
    where
        elements.feature_name in (
            select feature_name from {{ ref('int_flag_set_elements') }}
            where feature_id in (select feature_id from features)
        )
    group by flag_sets.environment, elements.feature_name, elements.feature_id

),

spans as (

    -- An event names the feature, and names change hands: from when until when a name was the feature's.
    select
        environment,
        feature_name,
        feature_id,
        case
            when row_number() over (partition by environment, feature_name order by first_named_at, feature_id) > 1
                then first_named_at
        end as valid_from,
        lead(first_named_at) over (partition by environment, feature_name order by first_named_at, feature_id) as valid_to
    from first_times

),

names as (

    select
        features.experiment_key,
        features.environment,
        features.started_at,
        features.ended_at,
        features.last_received_at,
        spans.feature_name,
        spans.valid_from,
        spans.valid_to
    from features
    inner join spans on features.environment = spans.environment and features.feature_id = spans.feature_id

),

test_users as (
    {{ test_users() }}
),

delivered as (
    {{ flagsmith_events("events.event = '" ~ exposure_event() ~ "'") }}
),

exposures as (

    -- However often an event was delivered: only the first time and the last one count.
    select
        names.experiment_key,
        names.environment,
        {{ 'coalesce(users.user_id, delivered.identity)' if is_mapped else 'delivered.identity' }} as identity,
        coalesce(cast(delivered.value_cell as string), '') as variant_key,
        min(delivered.occurred_at) as first_occurred_at,
        max(delivered.occurred_at) as last_occurred_at
    from delivered
    inner join names
        on
            delivered.environment = names.environment
            and delivered.feature_name = names.feature_name
            and (delivered.occurred_at >= names.valid_from or names.valid_from is null)
            and (delivered.occurred_at < names.valid_to or names.valid_to is null)
            and delivered.occurred_at >= names.started_at
            and (delivered.occurred_at < names.ended_at or names.ended_at is null)
            and delivered.occurred_at <= names.last_received_at
    {%- if is_mapped %}
    left join {{ ref('int_declared_identity_map') }} as users on delivered.identity = users.identity
    {%- endif %}
    where delivered.identity <> '' and not delivered.is_own
    group by all

),

declared_variations as (

    -- A key that is declared for two variations says nothing.
    select
        names.experiment_key,
        variants.variant_key,
        min(variants.variation) as variation
    from names
    inner join {{ ref('int_declared_variants') }} as variants on names.feature_name = variants.feature_name
    group by names.experiment_key, variants.variant_key
    having count(distinct variants.variation) = 1

),

assigned_variations as (

    select distinct experiment_key, variation
    from {{ ref('int_experiment_first_exposures') }}
    where {{ reads_flagsmith_events() | lower }}

)

select
    exposures.experiment_key,
    exposures.identity,
    exposures.variant_key,

    case
        when exposures.variant_key = 'control' then 'control'
        else coalesce(declared_variations.variation, assigned_variations.variation)
    end as variation,
    assigned.variation as assigned_variation,

    exposures.first_occurred_at,
    exposures.last_occurred_at
from exposures
left join declared_variations
    on
        exposures.experiment_key = declared_variations.experiment_key
        and exposures.variant_key = declared_variations.variant_key
-- Without a declared key, the key of a variant may be the text of its value.
left join assigned_variations
    on
        exposures.experiment_key = assigned_variations.experiment_key
        and exposures.variant_key = assigned_variations.variation
left join {{ ref('int_experiment_first_exposures') }} as assigned
    on exposures.experiment_key = assigned.experiment_key and exposures.identity = assigned.identity
where
    not exists (
        select 1
        from test_users
        where
            exposures.identity = test_users.identity
            and (exposures.environment = test_users.environment or test_users.environment is null)
    )
