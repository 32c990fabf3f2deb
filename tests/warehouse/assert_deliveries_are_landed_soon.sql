{{ config(severity='warn') }}
-- Refreshes keep up: deliveries received in the last day were landed within the hour. Returns the hours with later
-- ones.
select
    environment,
    hour,
    max(max_landing_delay_seconds) as value,
    {{ var('landing_delay_alert_seconds', 3600) }} as usual,
    'deliveries of ' || environment || ' received after ' || {{ minute_text('hour') }} || ' UTC were landed '
    || cast(cast(max(max_landing_delay_seconds) as bigint) as string) || ' s later' as message,
    'see that refreshes run often enough, and end: flagsmith-warehouse status' as remedy
from {{ ref('fct_deliveries_hourly') }}
where hour >= {{ utc_now() }} - interval 1 day
group by environment, hour
having max(max_landing_delay_seconds) > {{ var('landing_delay_alert_seconds', 3600) }}
