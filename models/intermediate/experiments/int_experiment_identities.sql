{{ config(materialized='table_in_place') }}

with epochs as (

    select distinct experiment_key, epoch, valid_to
    from {{ ref('int_experiment_epochs') }}

)

select
    assignments.experiment_key,
    assignments.identity,

    {{ content_hash(text_of(['assignments.experiment_key', 'assignments.identity'])) }} as identity_number,
    assignments.first_identity,
    assignments.variation,
    assignments.epoch,
    assignments.is_quarantined,

    assignments.first_exposed_at,
    assignments.activated_at,
    epochs.valid_to as epoch_ends_at
from {{ ref('int_experiment_assignments') }} as assignments
left join epochs
    on assignments.experiment_key = epochs.experiment_key and assignments.epoch = epochs.epoch
