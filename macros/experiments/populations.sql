{#- Who belongs to each population, from which day on and until when, and which of their outcomes. They count from a later day on
    where a metric has a window. The words are columns of int_experiment_gains, of identities with `first_exposed_on`,
    `activated_on` and `counted_on`, and of int_experiment_curve_sums. -#}
{% macro experiment_populations() %}
    {{ return({
        'assigned': {
            'who': 'true', 'from': 'first_exposed_on', 'outcomes': 'true', 'day': 'day', 'until': 'ends_at',
            'counted_from': 'counted_on', 'counted_day': 'counted_day',
        },
        'until_change': {
            'who': 'true', 'from': 'first_exposed_on', 'outcomes': 'is_until_change', 'day': 'day', 'until': 'epoch_ends_at',
            'counted_from': 'counted_on', 'counted_day': 'counted_day',
        },
        'undisturbed': {
            'who': 'not is_quarantined', 'from': 'first_exposed_on', 'outcomes': 'not is_quarantined', 'day': 'day',
            'until': 'ends_at', 'counted_from': 'counted_on', 'counted_day': 'counted_day',
        },
        'activated': {
            'who': 'activated_on is not null', 'from': 'activated_on', 'outcomes': 'activated_day is not null',
            'day': 'activated_day', 'until': 'ends_at',
            'counted_from': 'greatest(counted_on, activated_on)', 'counted_day': 'counted_activated_day',
        },
    }) }}
{% endmacro %}

{#- The sums over identities that everything else is computed from. -#}
{% macro experiment_sums() %}
    {{ return([
        'outcome_sum', 'outcome_sum_squares', 'denominator_sum', 'denominator_sum_squares',
        'outcome_denominator_products', 'before_sum', 'before_sum_squares', 'outcome_before_products',
    ]) }}
{% endmacro %}
