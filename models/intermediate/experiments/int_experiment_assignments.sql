{{ config(materialized='table_in_place') }}

with assigned as (

    select * from {{ ref('int_experiment_first_exposures') }}

),

activated as (

    select
        assigned.experiment_key,
        assigned.identity,
        min(events.occurred_at) as activated_at
    from assigned
    inner join {{ ref('int_experiments') }} as experiments on assigned.experiment_key = experiments.experiment_key
    inner join {{ ref('int_outcomes') }} as events
        on
            experiments.activation_event = events.event_name
            and assigned.identity = events.identity
            and assigned.first_exposed_at <= events.occurred_at
            and (experiments.ended_at > events.occurred_at or experiments.ended_at is null)
            and experiments.last_received_at >= events.occurred_at
    where
        (events.environment = experiments.environment or events.environment is null)
        {%- if reads_flagsmith_events() %}
        and experiments.activation_event <> '{{ exposure_event() }}'
        {%- endif %}
    group by all
    {%- if reads_flagsmith_events() %}

    union all

    -- A webhook takes a while, and the clock of an app may be slow. So an exposure before the first evaluation counts from that
    -- one on.
    select
        assigned.experiment_key,
        assigned.identity,
        greatest(min(exposures.first_occurred_at), assigned.first_exposed_at) as activated_at
    from assigned
    inner join {{ ref('int_experiments') }} as experiments on assigned.experiment_key = experiments.experiment_key
    inner join {{ ref('int_experiment_exposure_events') }} as exposures
        on assigned.experiment_key = exposures.experiment_key and assigned.identity = exposures.identity
    where experiments.activation_event = '{{ exposure_event() }}'
    group by assigned.experiment_key, assigned.identity, assigned.first_exposed_at
    {%- endif %}

),

epochs as (

    select distinct experiment_key, epoch, valid_from, valid_to
    from {{ ref('int_experiment_epochs') }}

)

select
    assigned.experiment_key,
    assigned.identity,

    {{ content_hash(text_of(['assigned.experiment_key', 'assigned.identity'])) }} as identity_number,
    assigned.first_identity,
    assigned.variation,
    epochs.epoch,
    epochs.valid_to as epoch_ends_at,
    contradictions.identity is not null as is_quarantined,
    contradictions.quarantine_reason,
    contradictions.other_variation,

    assigned.first_exposed_at,
    contradictions.contradicted_at,
    activated.activated_at
from assigned
inner join epochs
    on
        assigned.experiment_key = epochs.experiment_key
        and assigned.first_exposed_at >= epochs.valid_from
        and (assigned.first_exposed_at < epochs.valid_to or epochs.valid_to is null)
left join {{ ref('int_experiment_contradictions') }} as contradictions
    on assigned.experiment_key = contradictions.experiment_key and assigned.identity = contradictions.identity
left join activated
    on assigned.experiment_key = activated.experiment_key and assigned.identity = activated.identity
