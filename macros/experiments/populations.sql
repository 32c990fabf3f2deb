{#- Who is in each population, and which of their outcomes count. `from` and `day` are the days from which an identity and its
    outcomes belong to it; `counted_from` and `counted_day` the same once the metric's window has passed; `until` is when outcomes
    end. The words are columns of int_experiment_gains, of the identities in int_experiment_statistics, and of
    int_experiment_curve_sums. -#}
{% macro experiment_populations() %}
    {%- set everybody = {
        'who': 'true', 'from': 'first_exposed_on', 'counted_from': 'counted_on', 'outcomes': 'true',
        'day': 'day', 'counted_day': 'counted_day', 'until': 'ends_at',
    } -%}
    {{ return({
        'assigned': everybody,
        'until_change': dict(everybody, outcomes='is_until_change', until='epoch_ends_at'),
        'undisturbed': dict(everybody, who='not is_quarantined', outcomes='not is_quarantined'),
        'activated': dict(
            everybody, who='activated_on is not null', from='activated_on', counted_from='greatest(counted_on, activated_on)',
            outcomes='activated_day is not null', day='activated_day', counted_day='counted_activated_day'
        ),
    }) }}
{% endmacro %}

{#- The sums over identities that everything else is computed from. -#}
{% macro experiment_sums() %}
    {{ return([
        'outcome_sum', 'outcome_sum_squares', 'denominator_sum', 'denominator_sum_squares',
        'outcome_denominator_products', 'before_sum', 'before_sum_squares', 'outcome_before_products',
    ]) }}
{% endmacro %}
