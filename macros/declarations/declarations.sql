{#- What people may declare, column by column. No other place says what a cell may hold. To add a column, add a line
    here and in the seed's YAML; older files and relations may lack it.
      type       text, identity (taken exactly as it is), number, whole (number), time, choice, weights or breakdowns
      needed     the remedy for an empty cell; without this key the cell may be empty
      must_be    the end of the message "<column> must be …" about a cell that is not understood
      holds      a condition on `number`, the cell as a double
      remedy     what to write instead
    `key` names the columns that tell one row from another. -#}
{% macro declarations() %}
    {%- set reasons = 'environment_default, segment_override or identity_override' -%}
    {%- set where_split = 'say where the split was set up in Flagsmith (segment_override for a rollout)' -%}
    {%- set event = 'name the event as in the conversion events' -%}
    {%- set margin = 'write 0.02 to accept being up to two per cent of control worse, or leave it empty' -%}
    {{ return({
        'experiments': {'key': ['experiment_key'], 'columns': {
            'experiment_key': {'type': 'text', 'needed': 'give the experiment a name of its own'},
            'environment': {'type': 'text', 'needed': "name the environment as in the webhook's URL"},
            'feature_name': {'type': 'text', 'needed': 'name the feature as in Flagsmith'},
            'control_variation': {'type': 'text', 'needed': 'name the variation to compare with, mostly `control`'},
            'started_at': {'type': 'time', 'needed': 'give the UTC time from which evaluations count'},
            'ended_at': {'type': 'time'},
            'assignment_reason': {'type': 'choice', 'needed': where_split, 'must_be': reasons, 'remedy': where_split},
            'expected_weights': {'type': 'weights'},
            'activation_event': {'type': 'text'},
            'alpha': {'type': 'number', 'holds': 'number > 0 and number < 1', 'must_be': 'a number between 0 and 1',
                'remedy': 'write 0.05 for 95 % intervals'},
            'decision_method': {'type': 'choice', 'must_be': 'flagsmith, bayesian, frequentist or sequential',
                'remedy': 'leave it empty for sequential'},
            'sequential_tuning': {'type': 'number', 'holds': 'number > 0', 'must_be': 'a number above 0',
                'remedy': 'write the number of identities at which the sequential interval is tightest, like 5000'},
            'power': {'type': 'number', 'holds': 'number > 0 and number < 1', 'must_be': 'a number between 0 and 1',
                'remedy': 'write 0.8 for 80 %'},
            'primary_population': {'type': 'choice', 'must_be': 'assigned, until_change, undisturbed or activated',
                'remedy': 'leave it empty for assigned'},
            'name': {'type': 'text'},
            'description': {'type': 'text'},
            'breakdowns': {'type': 'breakdowns',
                'must_be': 'traits, segments and cohorts with `;` between them',
                'remedy': 'write each with what it is, like `trait:plan;segment:vip;cohort:adults`'},
        }},
        'metrics': {'key': ['metric_key'], 'columns': {
            'metric_key': {'type': 'text', 'needed': 'give the metric a name of its own'},
            'event_name': {'type': 'text', 'needed': event},
            'aggregation': {'type': 'choice', 'must_be': 'occurrence, count, sum, mean or ratio',
                'needed': 'write occurrence, count, sum, mean or ratio', 'remedy': 'write one of them'},
            'numerator_aggregation': {'type': 'choice', 'must_be': 'count or sum', 'remedy': 'leave it empty for count'},
            'denominator_event_name': {'type': 'text'},
            'denominator_aggregation': {'type': 'choice', 'must_be': 'count or sum', 'remedy': 'leave it empty for count'},
            'direction': {'type': 'choice', 'must_be': 'higher_is_better or lower_is_better',
                'needed': 'write higher_is_better or lower_is_better', 'remedy': 'write one of them'},
            'conversion_window_hours': {'type': 'number', 'holds': 'number > 0', 'must_be': 'a number above 0',
                'remedy': 'leave it empty to count until the experiment ends'},
            'window_start_hours': {'type': 'number', 'holds': 'number >= 0', 'must_be': 'a number, not negative',
                'remedy': 'leave it empty to count from the first evaluation on'},
            'winsorise_percentile': {'type': 'number', 'holds': 'number >= 0.5 and number < 1', 'must_be': 'a number in [0.5, 1)',
                'remedy': 'write 0.99 to cap at the 99th percentile'},
            'minimum_sample': {'type': 'whole', 'holds': 'number >= 0', 'must_be': 'a whole number, not negative',
                'remedy': 'leave it empty for 50'},
            'before_days': {'type': 'number', 'holds': 'number > 0', 'must_be': 'a number above 0',
                'remedy': 'leave it empty for no adjustment'},
            'prior_mean': {'type': 'number', 'must_be': 'a number', 'remedy': 'leave it empty for 0'},
            'prior_standard_deviation': {'type': 'number', 'holds': 'number > 0', 'must_be': 'a number above 0',
                'remedy': 'leave it empty for a flat prior'},
            'prior_type': {'type': 'choice', 'must_be': 'relative or absolute', 'remedy': 'leave it empty for relative'},
            'margin': {'type': 'number', 'holds': 'number > 0', 'must_be': 'a number above 0', 'remedy': margin},
            'name': {'type': 'text'},
            'description': {'type': 'text'},
            'unit': {'type': 'text'},
        }},
        'experiment_metrics': {'key': ['experiment_key', 'metric_key'], 'columns': {
            'experiment_key': {'type': 'text', 'needed': 'name an experiment that is declared'},
            'metric_key': {'type': 'text', 'needed': 'name a metric that is declared'},
            'role': {'type': 'choice', 'must_be': 'primary, secondary or guardrail',
                'needed': 'write primary, secondary or guardrail', 'remedy': 'write one of them'},
            'target_lift': {'type': 'number', 'holds': 'number <> 0', 'must_be': 'a number other than 0',
                'remedy': 'write 0.05 for five per cent more than control'},
            'margin': {'type': 'number', 'holds': 'number > 0', 'must_be': 'a number above 0', 'remedy': margin},
        }},
        'variants': {'key': ['feature_name', 'variation'], 'columns': {
            'feature_name': {'type': 'text', 'needed': 'name the feature as in Flagsmith'},
            'variation': {'type': 'text'},
            'variant_key': {'type': 'text', 'needed': "write the variant's key as Flagsmith shows it"},
        }},
        'identity_map': {'key': ['identity'], 'columns': {
            'identity': {'type': 'identity', 'needed': 'write the identity exactly as Flagsmith sends it'},
            'user_id': {'type': 'identity', 'needed': 'write what your company calls the same person or device'},
        }},
        'test_identities': {'key': ['environment', 'identity'], 'columns': {
            'environment': {'type': 'text'},
            'identity': {'type': 'identity', 'needed': 'write the identity exactly as Flagsmith sends it'},
        }},
    }) }}
{% endmacro %}
