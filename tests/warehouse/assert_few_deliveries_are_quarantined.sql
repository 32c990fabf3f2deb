{{ config(severity='warn') }}
-- Deliveries can be read. Returns the environments where more than 1 % and more than 20 of the last day's deliveries
-- were quarantined.
select
    environment,
    sum(deliveries) filter (where kind = 'quarantined') as value,
    round({{ var('quarantine_alert_share', 0.01) }} * sum(deliveries), 1) as usual,
    cast(sum(deliveries) filter (where kind = 'quarantined') as string) || ' of ' || cast(sum(deliveries) as string)
    || ' deliveries of ' || environment || ' in the last day could not be read' as message,
    'see why in quarantined_deliveries: flagsmith-warehouse status' as remedy
from {{ ref('fct_deliveries_hourly') }}
where hour >= {{ utc_now() }} - interval 1 day
group by environment
having
    sum(deliveries) filter (where kind = 'quarantined') > 20
    and sum(deliveries) filter (where kind = 'quarantined') > {{ var('quarantine_alert_share', 0.01) }} * sum(deliveries)
