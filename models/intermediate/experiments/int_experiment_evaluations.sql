{{ config(materialized='view_in_place') }}

-- Evaluations from the experiment's end on, and those in a pause, do not count.
select
    sightings.experiment_key,
    sightings.identity,
    sightings.evaluated_identity,
    sightings.delivery_id,

    sightings.variation,
    sightings.percentage_allocation,
    sightings.is_within_experiment,

    sightings.received_at
from {{ ref('int_experiment_sightings') }} as sightings
where
    sightings.is_evaluation
    and not exists (
        select 1
        from {{ ref('int_experiment_stops') }} as stops
        where
            sightings.experiment_key = stops.experiment_key
            and sightings.received_at >= stops.began_at
            and (sightings.received_at <= stops.last_seen_at or stops.is_end)
    )
