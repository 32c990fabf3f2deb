{{ config(materialized='table_in_place') }}

with withdrawals as (

    select * from {{ ref('int_experiment_withdrawals') }}

),

states as (

    -- The state of the split, a minute at a time: few rows to put in order. An override of one identity says nothing about
    -- the others.
    select
        sightings.experiment_key,
        case
            when not sightings.is_evaluation then 'switched_off'
            when sightings.percentage_allocation = 100 then 'one_variation'
            when withdrawals.experiment_key is not null then 'one_variation'
            else 'split'
        end as state,
        min(sightings.received_at) as first_at,
        max(sightings.received_at) as last_at
    from {{ ref('int_experiment_sightings') }} as sightings
    inner join {{ ref('int_experiment_declarations') }} as experiments
        on sightings.experiment_key = experiments.experiment_key
    -- Control alone is given, from the first identity that comes back without its option until somebody has an option again.
    left join withdrawals
        on
            sightings.experiment_key = withdrawals.experiment_key
            and withdrawals.stop_reason = 'one_variation'
            and sightings.received_at >= withdrawals.first_at
            and (sightings.received_at < withdrawals.given_again_at or withdrawals.given_again_at is null)
    where sightings.is_within_experiment and experiments.assignment_reason <> 'identity_override'
    group by sightings.experiment_key, state, date_trunc('minute', sightings.received_at)

    union all

    -- Nobody is given the flag for the declared reason.
    select experiment_key, stop_reason as state, first_at, last_at
    from withdrawals
    where stop_reason = 'reason_changed'

),

splits as (

    select * from states where state = 'split'

),

stopped as (

    select
        *,
        lag(last_at) over (partition by experiment_key order by first_at, last_at, state) as stopped_before_at
    from states
    where state <> 'split'

),

beginnings as (

    -- A new stop, if a split was seen between it and the one before. Changes within a minute of each other are one.
    select
        stopped.*,
        case
            when
                stopped.stopped_before_at is null
                or exists (
                    select 1
                    from splits
                    where
                        stopped.experiment_key = splits.experiment_key
                        and splits.last_at >= {{ plus_hours('stopped.stopped_before_at', spread_hours()) }}
                        and splits.first_at < stopped.first_at
                        and {{ plus_hours('stopped.stopped_before_at', spread_hours()) }} < stopped.first_at
                )
                then 1
            else 0
        end as is_beginning
    from stopped

),

numbered as (

    select
        *,
        sum(is_beginning) over (partition by experiment_key order by first_at, last_at, state) as stop_number
    from beginnings

),

stops as (

    select
        experiment_key,
        min_by(state, (first_at, last_at, state)) as stop_reason,
        min(first_at) as began_at,
        max(last_at) as last_seen_at
    from numbered
    group by experiment_key, stop_number

)

-- Stops from before the first split are left out, because the experiment had not begun.
select
    stops.experiment_key,

    stops.stop_reason,
    stops.last_seen_at > max(splits.last_at) as is_end,

    -- To the minute, where workers learn of the stop one after another.
    max(
        case
            when splits.last_at < stops.began_at then splits.last_at
            when splits.first_at < stops.began_at then splits.first_at
        end
    ) as split_last_seen_at,
    stops.began_at,
    stops.last_seen_at
from stops
inner join splits on stops.experiment_key = splits.experiment_key
group by stops.experiment_key, stops.stop_reason, stops.began_at, stops.last_seen_at
having min(splits.first_at) < stops.began_at
