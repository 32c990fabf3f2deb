{#- The checks of fct_experiment_health: their thresholds and their sentences. Translate or adjust them here.

    Each check has
      threshold       where the status changes, as the mart shows it; a check with a second threshold names it too
      spoils_results  whether an alarm of it makes every verdict do_not_trust
      spoils_population  the population whose verdicts are do_not_trust where it does not find ok, if there is one
      findings        what an int_experiment_checks__* model may find, each with its status and its sentence
    A sentence names in braces what is filled in: of the check {affected}, {total} and {detail}; of the experiment
    {environment}, {feature_name}, {assignment_reason}, {control_variation} and {problem}. -#}
{% macro experiment_checks() %}
    {#- What has moved the environment's clock. -#}
    {%- set arrival = 'webhook or event' if reads_flagsmith_events() else 'webhook' -%}
    {%- set last, later = 'the last ' ~ arrival, 'a later ' ~ arrival -%}
    {{ return({
        'declaration': {
            'threshold': '0e0',
            'spoils_results': true,
            'findings': {
                'in_order': ['ok', 'The declaration is in order.'],
                'wrong': ['alarm', 'The declaration is wrong: {problem}.'],
            },
        },
        'one_feature': {
            'threshold': '1e0',
            'spoils_results': false,
            'findings': {
                'other_features': [
                    'warn',
                    'The feature {detail} had the declared name too, later. Only the feature that had it first is under'
                    ~ ' experiment. If that one was deleted and created again, declare a new experiment.',
                ],
            },
        },
        'ambiguous_variations': {
            'threshold': '0e0',
            'spoils_results': false,
            'findings': {
                'distinct': ['ok', 'Every variation has its own value.'],
                'ambiguous': [
                    'warn',
                    'Some variations of the feature have the same value, so they cannot be told apart. Give each its own value.',
                ],
            },
        },
        'has_begun': {
            'threshold': '1e0',
            'spoils_results': false,
            'findings': {
                'assigned': ['ok', '{affected} identities are assigned.'],
                'nothing_received': [
                    'warn',
                    'Nothing was ever received from the environment {environment}: is it spelt as in the webhook\'s URL?',
                ],
                'not_started': ['warn', 'The experiment has not begun: ' ~ last ~ ' came before its declared start.'],
                'nobody_assigned': [
                    'warn',
                    'Since the declared start, nobody was given the feature {feature_name} for the declared reason,'
                    ~ ' {assignment_reason}. Compare the name and the reason with fct_flag_exposures.',
                ],
            },
        },
        'control_present': {
            'threshold': '1e0',
            'spoils_results': true,
            'findings': {
                'present': ['ok', 'Control has identities.'],
                'absent': [
                    'alarm',
                    'Nobody has the variation {control_variation}, with which the others are compared. Is it spelt in the'
                    ~ ' declaration (control_variation) as in fct_flag_exposures?',
                ],
            },
        },
        'several_variations': {
            'threshold': '2e0',
            'spoils_results': false,
            'findings': {
                'several': ['ok', '{affected} variations were seen.'],
                'only_one': ['warn', 'Only one variation was seen: there is nothing to compare.'],
            },
        },
        'sample_ratio': {
            'threshold': '0.001e0',
            'warning_threshold': '0.01e0',
            'minimum_identities': '100',
            'spoils_results': true,
            'findings': {
                'one_variation': ['ok', 'Only one variation has a weight: there is nothing to test.'],
                'too_few': ['ok', 'Fewer than 100 identities: too few to test.'],
                'nothing_to_test': ['ok', 'No identity has a share to compare: there is nothing to test.'],
                'balanced': ['ok', 'The variations have the shares they should have.'],
                'doubtful': [
                    'warn',
                    'The variations do not have the shares they should have: some identities are lost or doubled on the'
                    ~ ' way. Find out which before you read the results.',
                ],
                'unbalanced': [
                    'alarm',
                    'The variations do not have the shares they should have: some identities are lost or doubled on the'
                    ~ ' way. Find out which before you read the results.',
                ],
            },
        },
        'weights_known': {
            'threshold': '1e0',
            'spoils_results': false,
            'findings': {
                'unknown': [
                    'warn',
                    'It is not known what share each variation should have, so nobody can say whether identities are lost on the'
                    ~ ' way. Write the shares in the declaration (expected_weights).',
                ],
            },
        },
        'epochs_compared': {
            'threshold': '0e0',
            'spoils_results': false,
            'findings': {
                'all': ['ok', 'Every variation is compared with control in every period between two changes of the weights.'],
                'some': [
                    'warn',
                    'Variations are compared within the periods between two changes of the weights. {affected} of {total} of these'
                    ~ ' comparisons are left out, since one side has fewer than two identities there: {detail}.',
                ],
            },
        },
        'windows_passed': {
            'threshold': '1e0',
            'spoils_results': false,
            'findings': {
                'some': [
                    'ok',
                    'The experiment ended before {affected} of {total} identities had had the time that the metric gives them (its'
                    ~ ' conversion window), so they do not count in {detail}.',
                ],
                'none': [
                    'warn',
                    'The experiment ended before anybody had had the time that the metric gives them (its conversion window), so'
                    ~ ' nobody counts in {detail}. Declare a shorter window, or let the next experiment run for longer.',
                ],
            },
        },
        'pooled_lift': {
            'threshold': '1e0',
            'spoils_results': false,
            'findings': {
                'near': ['ok', 'With all days thrown together, the lifts would be much the same.'],
                'apart': [
                    'warn',
                    'The weights changed, and so did outcomes over time. The lifts shown take care of that: they compare within the'
                    ~ ' periods between two changes. With all days thrown together, the lift of {detail} would be off by more than'
                    ~ ' its usual uncertainty (one standard error). Do not read such lifts, for example Flagsmith\'s own.',
                ],
            },
        },
        'quarantined_share': {
            'threshold': '0.05e0',
            'spoils_results': false,
            'findings': {
                'few': [
                    'ok',
                    '{affected} of {total} identities saw more than one variation. They count in the one that they were given first.'
                    ~ ' The results of those whose variation never changed (the population undisturbed) leave them out.',
                ],
                'many': [
                    'warn',
                    '{affected} of {total} identities saw more than one variation. They count in the one that they were given first.'
                    ~ ' The results of those whose variation never changed (the population undisturbed) leave them out.',
                ],
            },
        },
        'quarantined_balance': {
            'threshold': '0.001e0',
            'spoils_results': false,
            'spoils_population': 'undisturbed',
            'findings': {
                'one_variation': ['ok', 'Only one variation was seen: there is nothing to test.'],
                'too_few': ['ok', 'Fewer than 100 identities: too few to test.'],
                'nothing_to_test': ['ok', 'Nobody or everybody saw a second variation: there is nothing to test.'],
                'balanced': ['ok', 'Every variation has about the same share of identities that saw a second one.'],
                'unbalanced': [
                    'warn',
                    'One variation has more identities that saw a second one than another has. So those whose variation never'
                    ~ ' changed may differ from variation to variation. Do not read their results (the population undisturbed); read'
                    ~ ' those of everybody assigned.',
                ],
            },
        },
        'people_in_several_variations': {
            'threshold': '0.05e0',
            'spoils_results': false,
            'findings': {
                'few': [
                    'ok',
                    '{affected} of {total} people have identities that were given different variations. They count in the one that'
                    ~ ' they were given first. The results of those whose variation never changed (the population undisturbed) leave'
                    ~ ' them out.',
                ],
                'many': [
                    'warn',
                    '{affected} of {total} people have identities that were given different variations. They count in the one that'
                    ~ ' they were given first, so the lift is smaller than that of people who saw one only. Evaluate the flag for'
                    ~ ' the same identity before and after login.',
                ],
            },
        },
        'activated_balance': {
            'threshold': '0.001e0',
            'spoils_results': false,
            'spoils_population': 'activated',
            'findings': {
                'one_variation': ['ok', 'Only one variation was seen: there is nothing to test.'],
                'too_few': ['ok', 'Fewer than 100 identities: too few to test.'],
                'nothing_to_test': ['ok', 'Nobody or everybody went on to the activation event: there is nothing to test.'],
                'balanced': ['ok', 'In every variation, about the same share of identities went on to the activation event.'],
                'unbalanced': [
                    'warn',
                    'The variations differ in the share of identities that went on to the activation event. So read the results of'
                    ~ ' everybody assigned, not those of the activated.',
                ],
            },
        },
        'evaluated_but_not_exposed': {
            'threshold': '0.5e0',
            'spoils_results': false,
            'findings': {
                'few': ['ok', '{affected} of {total} assigned identities have no exposure event of the feature.'],
                'many': [
                    'warn',
                    '{affected} of {total} assigned identities have no exposure event of the feature: they make the lifts of'
                    ~ ' everybody assigned smaller. To read those of the exposed (the population activated), declare $flag_exposure as'
                    ~ ' activation_event.',
                ],
                'no_exposures': [
                    'warn',
                    'Flagsmith\'s events contain no exposure of the feature {feature_name} in the environment {environment} while'
                    ~ ' the experiment ran. Does the SDK send exposures, and does flagsmith_environments have the environment\'s key?',
                ],
            },
        },
        'exposed_but_not_evaluated': {
            'threshold': '0.05e0',
            'spoils_results': false,
            'findings': {
                'few': [
                    'ok',
                    '{affected} of {total} exposed identities have no evaluation by webhook in the experiment, and do not count.',
                ],
                'many': [
                    'warn',
                    '{affected} of {total} exposed identities have no evaluation by webhook in the experiment, and do not count.'
                    ~ ' Webhooks may be missing, the SDK may evaluate locally, or the two sides name identities differently.',
                ],
                'only_identities_hashed': [
                    'warn',
                    '{affected} of {total} exposed identities have no evaluation by webhook in the experiment, and do not count. Every'
                    ~ ' assigned identity is a hash of 32 hexadecimal digits, and no identifier of an event is one. Hash the'
                    ~ ' identifiers, too: see flagsmith-warehouse hash --help.',
                ],
            },
        },
        'exposed_in_another_variation': {
            'threshold': '0.05e0',
            'spoils_results': false,
            'findings': {
                'few': [
                    'ok',
                    '{affected} of {total} assigned identities with an exposure event were exposed to another variation than the one'
                    ~ ' they were assigned. They count in the one they were assigned.',
                ],
                'many': [
                    'warn',
                    '{affected} of {total} assigned identities with an exposure event were exposed to another variation than the one'
                    ~ ' they were assigned. They count in the one they were assigned. Weights may have'
                    ~ ' changed, an app may keep old flags, or variants.csv may have a wrong key.',
                ],
            },
        },
        'outcomes_readable': {
            'threshold': '0e0',
            'spoils_results': true,
            'findings': {
                'unreadable': ['alarm', 'No outcome is counted, since {detail}.'],
            },
        },
        'unusable_outcomes': {
            'threshold': '0e0',
            'spoils_results': false,
            'findings': {
                'some': [
                    'warn',
                    'Some outcomes cannot be used: {detail}. A value that cannot be used is left out; an outcome without a time or'
                    ~ ' an identity is left out as a whole. Correct them at their source.',
                ],
            },
        },
        'outcomes_without_assignment': {
            'threshold': '0.5e0',
            'spoils_results': false,
            'findings': {
                'no_outcomes': [
                    'warn',
                    'No event of any of its metrics happened since it began: are the event names right?',
                ],
                'few': [
                    'ok',
                    '{affected} of {total} outcomes are of identities that are not in the experiment. If there are many, the two'
                    ~ ' sides may name identities differently.',
                ],
                'many': [
                    'warn',
                    '{affected} of {total} outcomes are of identities that are not in the experiment. The two sides may name'
                    ~ ' identities differently.',
                ],
                'only_identities_hashed': [
                    'warn',
                    '{affected} of {total} outcomes are of identities that are not in the experiment. Every identity is a hash of 32'
                    ~ ' hexadecimal digits, and none of these outcomes has one. Hash the outcomes, too: see flagsmith-warehouse hash'
                    ~ ' --help.',
                ],
                'only_outcomes_hashed': [
                    'warn',
                    '{affected} of {total} outcomes are of identities that are not in the experiment. Each of these outcomes has a hash of 32'
                    ~ ' hexadecimal digits, and no identity is one. Give the outcomes the names that Flagsmith sends.',
                ],
            },
        },
        'outcomes_before_exposure': {
            'threshold': '0.2e0',
            'spoils_results': false,
            'findings': {
                'few': [
                    'ok',
                    '{affected} of {total} outcomes came before the identity\'s first evaluation and are not counted.',
                ],
                'many': [
                    'warn',
                    '{affected} of {total} outcomes came before the identity\'s first evaluation and are not counted. The'
                    ~ ' flag may be evaluated too late, or a clock may be wrong.',
                ],
            },
        },
        'identities_in_several_environments': {
            'threshold': '0e0',
            'spoils_results': false,
            'findings': {
                'some': [
                    'warn',
                    '{affected} identities are known in another environment too, and the outcomes do not say where they'
                    ~ ' happened, so each outcome is counted here as well. Add the column environment to your outcomes (conversion_events).',
                ],
            },
        },
        'outcomes_after_last_webhook': {
            'threshold': '24e0',
            'spoils_results': false,
            'findings': {
                'one': [
                    'ok',
                    '1 outcome is dated after ' ~ last ~ ' ({detail}). It counts once ' ~ later ~ ' has arrived.',
                ],
                'several': [
                    'ok',
                    '{affected} outcomes are dated after ' ~ last ~ ', the latest at {detail}. They count once '
                    ~ later ~ ' has arrived.',
                ],
                'one_far_ahead': [
                    'warn',
                    '1 outcome is dated after ' ~ last ~ ' ({detail}). It counts once ' ~ later ~ ' has arrived. It is'
                    ~ ' more than 24 hours ahead: a clock or a date is wrong, or webhooks are missing.',
                ],
                'several_far_ahead': [
                    'warn',
                    '{affected} outcomes are dated after ' ~ last ~ ', the latest at {detail}. They count once '
                    ~ later ~ ' has arrived. The latest is more than 24 hours ahead: a clock or a date is wrong, or webhooks'
                    ~ ' are missing.',
                ],
            },
        },
        'data_freshness': {
            'threshold': '24e0',
            'alarm_threshold': '72e0',
            'spoils_results': false,
            'findings': {
                'fresh': ['ok', 'The last outcome is at most 24 hours older than ' ~ last ~ '.'],
                'behind': [
                    'warn',
                    'The last outcome is more than 24 hours older than ' ~ last ~ '. Load the missing outcomes before you'
                    ~ ' decide.',
                ],
                'far_behind': [
                    'alarm',
                    'The last outcome is more than 72 hours older than ' ~ last ~ '. Load the missing outcomes before you'
                    ~ ' decide.',
                ],
            },
        },
        'before_imbalance': {
            'threshold': '0.001e0',
            'spoils_results': false,
            'findings': {
                'alike': ['ok', 'The variations were alike before anybody was assigned.'],
                'different': [
                    'warn',
                    'The variations differed in {detail} before anybody was assigned. Trust the lifts that are adjusted by what'
                    ~ ' people did before (columns cuped_), not the others.',
                ],
            },
        },
    }) }}
{% endmacro %}

{#- A threshold of a check; `which` names one of several. -#}
{% macro check_threshold(check_name, which='threshold') %}
    {{- return(flagsmith_warehouse.experiment_checks()[check_name][which]) -}}
{% endmacro %}

{#- An expression: the sentence with each of `columns` in the place of its name in braces. -#}
{% macro filled(sentence, columns) %}
    {%- set filled = namespace(sql=sentence) -%}
    {%- for name, column in columns.items() -%}
        {%- set filled.sql = "replace(" ~ filled.sql ~ ", '{" ~ name ~ "}', coalesce(cast(" ~ column ~ " as string), ''))" -%}
    {%- endfor -%}
    {{- return(filled.sql) -}}
{% endmacro %}
