{{ config(
    pre_hook="{{ find_days_to_count() }}",
    meta={
        'built_from': ['fct_cohort_memberships', 'int_deliveries'],
        'is_made_of_what_is_left': true,
        'replaces': 'target.environment = changed.environment and target.day >= changed.first_day',
    },
) }}

-- depends_on: {{ ref('int_environments') }}

{{ daily_sizes(ref('fct_cohort_memberships'), 'cohort_key') }}
