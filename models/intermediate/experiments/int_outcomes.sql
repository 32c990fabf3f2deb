{{ config(materialized='view_in_place') }}

{% if has_identity_map() %}
-- An outcome of whichever identity is one of the person.
select
    outcomes.environment,
    coalesce(users.user_id, outcomes.identity) as identity,
    outcomes.event_name,
    outcomes.value,
    outcomes.unusable_column,
    outcomes.unusable_cell,
    outcomes.occurred_at
from ({{ typed_outcomes() }}) as outcomes
left join {{ ref('int_declared_identity_map') }} as users on outcomes.identity = users.identity
{% else %}
{{ typed_outcomes() }}
{% endif %}
