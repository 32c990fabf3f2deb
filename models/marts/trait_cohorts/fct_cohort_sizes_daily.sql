{{ config(meta={'replaces': 'days', 'retention': {'is_remade': true}}) }}

{{ daily_sizes(ref('fct_cohort_memberships'), 'cohort_key') }}
