{{ config(severity='warn') }}
-- An environment speaks as it usually does. Expected since its last delivery: for every hour of silence, what that hour
-- of the day brought on average in the four weeks before. Returns the environments of which 20 or more deliveries are
-- missing (by chance once in 500 million times), for a week; after that it is taken for retired.
with hours as (

    select
        environment,
        hour,
        sum(deliveries) as deliveries,
        max(last_received_at) as last_received_at
    from {{ ref('fct_deliveries_hourly') }}
    group by environment, hour

),

environments as (

    select
        environment,
        max(last_received_at) as last_received_at,
        cast(max(last_received_at) as date) - interval 28 day as usual_from,
        least(28, greatest(1, {{ hours_between("date_trunc('day', min(hour))", "date_trunc('day', max(hour))") }} / 24)) as usual_days
    from hours
    group by environment

),

usual as (

    select
        environments.environment,
        extract(hour from hours.hour) as hour_of_day,
        sum(hours.deliveries) / any_value(environments.usual_days) as deliveries
    from hours
    inner join environments
        on hours.environment = environments.environment and hours.hour >= environments.usual_from
    group by environments.environment, extract(hour from hours.hour)

),

silent_hours as (

    select
        environment,
        last_received_at,
        {{ each_hour("date_trunc('hour', last_received_at) + interval 1 hour", utc_now() ~ ' - interval 1 hour') }} as hour
    from environments
    where last_received_at >= {{ utc_now() }} - interval 7 day

)

select
    silent_hours.environment,
    silent_hours.last_received_at,
    0 as value,
    round(sum(usual.deliveries)) as usual,
    'environment ' || silent_hours.environment || ' is silent: 0 deliveries since '
    || {{ minute_text('silent_hours.last_received_at') }} || ' UTC, usually '
    || cast(cast(round(sum(usual.deliveries)) as bigint) as string) as message,
    'see that Flagsmith still sends to it and that `serve` answers: flagsmith-warehouse doctor --url' as remedy
from silent_hours
inner join usual
    on
        silent_hours.environment = usual.environment
        and extract(hour from silent_hours.hour) = usual.hour_of_day
group by silent_hours.environment, silent_hours.last_received_at
having sum(usual.deliveries) >= {{ var('silence_alert_deliveries', 20) }}
