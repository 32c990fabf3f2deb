{{ config(materialized=kept_unless_checked()) }}

with delivered as (
    {{ flagsmith_events('true') }}
),

judged as (

    select
        environment,
        environment_key,
        is_own,
        coalesce(event_name = '{{ exposure_event() }}', false) as is_exposure,
        feature_name,
        cast(value_cell as string) as variant_key,
        identity,
        case when {{ is_finite_time('occurred_at') }} then occurred_at end as occurred_at,
        collected_at
    from delivered

)

select
    environment,
    environment_key,
    is_own,
    is_exposure,
    -- An outcome may have any value and be of any feature.
    case when is_exposure then feature_name end as feature_name,
    case when is_exposure then variant_key end as variant_key,
    case
        when not is_exposure then null
        when identity is null or identity = '' then 'identifier'
        when occurred_at is null then 'timestamp'
    end as unusable_column,

    count(*) as events,

    -- An event without the time at which it was collected may claim any time.
    max(occurred_at) filter (where collected_at is not null and not is_own) as last_occurred_at
from judged
group by all
