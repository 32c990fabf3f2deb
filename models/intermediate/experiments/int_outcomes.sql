{{ config(materialized='view_in_place') }}

{%- set columns = ['environment', 'identity', 'event_name', 'value', 'unusable_column', 'unusable_cell', 'occurred_at'] %}
{%- set is_mapped = has_identity_map() %}

{% if is_mapped -%}
-- An outcome of whichever identity is one of the person.
{%- endif %}
select
    outcomes.environment,
    {{ 'coalesce(users.user_id, outcomes.identity) as identity' if is_mapped else 'outcomes.identity' }},
    outcomes.event_name,
    outcomes.value,
    outcomes.unusable_column,
    outcomes.unusable_cell,
    outcomes.occurred_at
from (
    {%- if reads_flagsmith_events() %}
    select {{ columns | join(', ') }} from ({{ typed_outcomes() }}) as events
    union all
    select {{ columns | join(', ') }} from {{ ref('int_flagsmith_outcomes') }}
    {%- else %}
    {{ typed_outcomes() }}
    {%- endif %}
) as outcomes
{%- if is_mapped %}
left join {{ ref('int_declared_identity_map') }} as users on outcomes.identity = users.identity
{%- endif %}
