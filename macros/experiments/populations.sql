{#- Who counts in each population and from which day on, which of their outcomes, and until when. The words are columns of
    int_experiment_gains, of identities with `first_exposed_on` and `activated_on`, and of int_experiment_curve_sums. -#}
{% macro experiment_populations() %}
    {{ return({
        'assigned': {'who': 'true', 'from': 'first_exposed_on', 'outcomes': 'true', 'day': 'day', 'until': 'ends_at'},
        'until_change': {'who': 'true', 'from': 'first_exposed_on', 'outcomes': 'is_until_change', 'day': 'day', 'until': 'epoch_ends_at'},
        'undisturbed': {'who': 'not is_quarantined', 'from': 'first_exposed_on', 'outcomes': 'not is_quarantined', 'day': 'day', 'until': 'ends_at'},
        'activated': {'who': 'activated_on is not null', 'from': 'activated_on', 'outcomes': 'activated_day is not null', 'day': 'activated_day', 'until': 'ends_at'},
    }) }}
{% endmacro %}

{#- The sums over identities that everything else is computed from. -#}
{% macro experiment_sums() %}
    {{ return([
        'outcome_sum', 'outcome_sum_squares', 'denominator_sum', 'denominator_sum_squares',
        'outcome_denominator_products', 'before_sum', 'before_sum_squares', 'outcome_before_products',
    ]) }}
{% endmacro %}
