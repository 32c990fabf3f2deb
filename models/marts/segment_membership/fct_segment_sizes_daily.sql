{{ config(
    pre_hook="{{ find_days_to_count() }}",
    meta={
        'built_from': ['fct_segment_memberships', 'int_deliveries'],
        'replaces': 'target.environment = changed.environment and target.day >= changed.first_day',
    },
) }}

-- depends_on: {{ ref('int_environments') }}

with sizes as (

    {{ daily_sizes(ref('fct_segment_memberships'), 'segment_id') }}

),

names as (

    select
        environment,
        segment_id,
        max_by(segment_name, {'at': entered_at, 'identity': identity}) as segment_name
    from {{ ref('fct_segment_memberships') }}
    group by all

)
{%- if builds_on_itself() and is_pruned() %},

known_names as (

    -- Of segments whose members have all been pruned.
    select
        known.environment,
        known.segment_id,
        max_by(known.segment_name, known.day) as segment_name
    from {{ this }} as known
    inner join {{ changed() }} as changed
        on known.environment = changed.environment and known.day < changed.first_day
    group by known.environment, known.segment_id

)
{%- endif %}

select
    sizes.environment,
    sizes.segment_id,
    sizes.day,

    {% if builds_on_itself() and is_pruned() -%}
    coalesce(names.segment_name, known_names.segment_name) as segment_name,
    {%- else -%}
    names.segment_name,
    {%- endif %}
    sizes.members,
    sizes.entered,
    sizes."left"
from sizes
left join names on sizes.environment = names.environment and sizes.segment_id = names.segment_id
{%- if builds_on_itself() and is_pruned() %}
left join known_names
    on sizes.environment = known_names.environment and sizes.segment_id = known_names.segment_id
{%- endif %}
