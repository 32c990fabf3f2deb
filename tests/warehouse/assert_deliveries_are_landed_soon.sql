{{ config(severity='warn') }}
-- Refreshes keep up: what was received in the last day has been landed within the hour. Returns the hours that have not.
select
    environment,
    hour,
    max(max_landing_delay_seconds) as landing_delay_seconds
from {{ ref('fct_deliveries_hourly') }}
where hour >= cast(now() at time zone 'UTC' as timestamp) - interval 1 day
group by environment, hour
having max(max_landing_delay_seconds) > {{ var('landing_delay_alert_seconds', 3600) }}
