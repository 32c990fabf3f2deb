{{ config(materialized='view_in_place') }}

with observed as (

    -- Quarantined identities count under the variation they got first, as they were randomised. Leaving them out would
    -- raise false alarms after a change of weights, which moves identities of one variation only.
    select
        experiment_key,
        epoch,
        variation,
        count(*) as identities
    from {{ ref('int_experiment_assignments') }}
    group by experiment_key, epoch, variation

),

weights as (

    -- Ignore zero-weight variations.
    select
        *,
        weight / sum(weight) over (partition by experiment_key, epoch) as share
    from {{ ref('int_experiment_epochs') }}
    where weight > 0

),

by_epoch as (

    select
        weights.experiment_key,
        weights.epoch,
        weights.variation,
        coalesce(observed.identities, 0) as observed,
        sum(coalesce(observed.identities, 0)) over (partition by weights.experiment_key, weights.epoch)
        * weights.share as expected
    from weights
    left join observed
        on
            weights.experiment_key = observed.experiment_key
            and weights.epoch = observed.epoch
            and weights.variation = observed.variation

)

select
    experiment_key,
    epoch,
    variation,
    observed,
    expected
from by_epoch

union all

-- The whole experiment: each variation should have the sum of what its epochs expect, each with its own weights.
select
    experiment_key,
    0 as epoch,
    variation,
    sum(observed) as observed,
    sum(expected) as expected
from by_epoch
group by experiment_key, variation
