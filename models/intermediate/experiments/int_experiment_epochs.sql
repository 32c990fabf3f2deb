{{ config(materialized='table_in_place') }}

with weights_by_minute as (

    -- What webhooks reported of a variation's weight, minute by minute: few rows to put in order.
    select
        experiment_key,
        variation,
        percentage_allocation,
        count(*) as evaluations,
        min(received_at) as first_at,
        max(received_at) as last_at
    from {{ ref('int_experiment_evaluations') }}
    where is_within_experiment and percentage_allocation is not null
    group by experiment_key, variation, percentage_allocation, date_trunc('minute', received_at)

),

in_order as (

    select
        *,
        lag(percentage_allocation) over weights_in_order as percentage_before,
        lag(last_at) over weights_in_order as last_before_at
    from weights_by_minute
    window weights_in_order as (partition by experiment_key, variation order by first_at, last_at, percentage_allocation)

),

changes as (

    -- A variation's weight changed somewhere between its last evaluation with the old and its first with the new one.
    select distinct
        experiment_key,
        least(last_before_at, first_at) as after_at,
        first_at as until_at
    from in_order
    where percentage_before <> percentage_allocation

),

narrowest_changes as (

    -- For a rarely seen variation, the two evaluations around a change are far apart. If those of another variation
    -- lie within them, they give the time.
    select wide.*
    from changes as wide
    where not exists (
        select 1
        from changes as narrower
        where
            wide.experiment_key = narrower.experiment_key
            and wide.after_at <= narrower.after_at
            and wide.until_at >= narrower.until_at
            and (wide.after_at < narrower.after_at or wide.until_at > narrower.until_at)
    )

),

changes_with_end as (

    select
        *,
        max(until_at) over (
            partition by experiment_key order by after_at, until_at
            rows between unbounded preceding and 1 preceding
        ) as reached_at
    from narrowest_changes

),

grouped as (

    -- Changes seen within a minute of each other are one change, learnt of by one worker after another.
    select
        *,
        sum(case when after_at < {{ plus_hours('reached_at', spread_hours()) }} then 0 else 1 end)
            over (partition by experiment_key order by after_at, until_at) as change_number
    from changes_with_end

),

beginnings as (

    select experiment_key, started_at as valid_from
    from {{ ref('int_experiments') }}
    where status <> 'invalid'

    union

    select experiment_key, min(until_at) as valid_from
    from grouped
    group by experiment_key, change_number

),

epochs as (

    select
        experiment_key,
        cast(row_number() over epochs_in_order as integer) as epoch,
        valid_from,
        lead(valid_from) over epochs_in_order as valid_to
    from beginnings
    window epochs_in_order as (partition by experiment_key order by valid_from)

),

reported_weights as (

    select
        epochs.experiment_key,
        epochs.epoch,
        weights_by_minute.variation,
        weights_by_minute.percentage_allocation as weight,
        row_number() over (
            partition by epochs.experiment_key, epochs.epoch, weights_by_minute.variation
            order by sum(weights_by_minute.evaluations) desc, weights_by_minute.percentage_allocation
        ) as rank_in_epoch
    from epochs
    inner join weights_by_minute
        on
            epochs.experiment_key = weights_by_minute.experiment_key
            and epochs.valid_from <= weights_by_minute.first_at
            and (epochs.valid_to > weights_by_minute.first_at or epochs.valid_to is null)
    group by epochs.experiment_key, epochs.epoch, weights_by_minute.variation, weights_by_minute.percentage_allocation

),

likeliest_weights as (

    -- Of several weights reported within an epoch, the one reported most often.
    select experiment_key, epoch, variation, weight from reported_weights
    where rank_in_epoch = 1

),

weight_parts as (

    select experiment_key, {{ text_parts('expected_weights', ';') }} as part
    from {{ ref('int_experiments') }}
    where expected_weights <> 'auto' and status <> 'invalid'

),

weights as (

    -- Control carries no percentage: it has what the others leave.
    select experiment_key, epoch, variation, weight from likeliest_weights

    union all

    select experiment_key, epoch, 'control' as variation, greatest(100 - sum(weight), 0) as weight
    from likeliest_weights
    group by experiment_key, epoch

)

select
    epochs.experiment_key,
    epochs.epoch,
    weights.variation,
    weights.weight,
    epochs.valid_from,
    epochs.valid_to
from epochs
inner join {{ ref('int_experiments') }} as experiments on epochs.experiment_key = experiments.experiment_key
left join weights
    on epochs.experiment_key = weights.experiment_key and epochs.epoch = weights.epoch
where experiments.expected_weights = 'auto'

union all

-- Declared weights are what each epoch is held against. Where an epoch begins, the evaluations alone say.
select
    epochs.experiment_key,
    epochs.epoch,
    {{ regex_group('part', '(?s)^(.*)=[^=]*$', 1) }} as variation,
    cast({{ regex_group('part', '=([^=]*)$', 1) }} as double) as weight,
    epochs.valid_from,
    epochs.valid_to
from epochs
inner join weight_parts on epochs.experiment_key = weight_parts.experiment_key
