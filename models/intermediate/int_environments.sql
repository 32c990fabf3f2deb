{{ config(materialized='view_in_place') }}

-- The environment's clock is the time of its newest delivery, whatever its kind: quarantined deliveries and those of test
-- identities move it too. Nothing else says that time has passed, except for experiments,
-- where int_experiment_declarations adds Flagsmith's own events. Retention never deletes an environment's newest delivery.
select
    environment,
    max(received_at) as last_received_at
from {{ ref('int_deliveries') }}
group by environment
