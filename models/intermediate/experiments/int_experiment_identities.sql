{{ config(
    pre_hook="{{ find_changed_assignments() }}",
    meta={
        'built_from': ['int_deliveries'],
        'replaces': 'target.experiment_key = changed.experiment_key and target.identity = changed.identity',
    },
) }}

with assigned as (

    select
        assignments.experiment_key,
        assignments.identity,
        assignments.variation,
        assignments.is_quarantined,
        assignments.first_exposed_at,
        assignments.activated_at,
        {{ 'changed.kept_number' if builds_on_itself() else 'cast(null as bigint)' }} as kept_number
    from {{ ref('int_experiment_assignments') }} as assignments
    {%- if builds_on_itself() %}
    inner join {{ changed() }} as changed
        on
            assignments.experiment_key = changed.experiment_key
            and assignments.identity = changed.identity
    {%- endif %}

)

select
    experiment_key,
    identity,

    coalesce(kept_number, {{ greatest_identity_number() }} + row_number() over ()) as identity_number,
    variation,
    is_quarantined,

    first_exposed_at,
    activated_at
from assigned
