{#- Reads a Flagsmith rule tree strictly: the rules of one segment, as Flagsmith's API or an environment document
    writes them. What Flagsmith's engine would fail on is refused here, with the place and the remedy.
    rules: list of {type: ALL|ANY|NONE, rules: [...], conditions: [{property, operator, value}]}.
    cohort: what messages call the whole, or a cohort that is being judged (judged_cohorts); segment_id: what PERCENTAGE_SPLIT hashes with.
    conditions: a list to which every condition found is added, so that a caller can number those of many cohorts.
    Returns the same tree with conditions normalised: {operator, property, value, segment_id, where}. -#}
{% macro parse_rules(rules, cohort, segment_id=none, conditions=none) %}
    {%- if not flagsmith_warehouse.is_list(rules) -%}
        {{ flagsmith_warehouse.refuse_rule(cohort, 'rules', 'is not a list of rules',
            "Paste the list under a segment's `rules`: [{type: ALL, rules: [...], conditions: [...]}].") }}
        {{ return([]) }}
    {%- endif -%}
    {%- set parsed = [] -%}
    {%- for rule in rules -%}
        {%- do parsed.append(flagsmith_warehouse.parse_rule(
            rule, cohort, 'rules[' ~ loop.index0 ~ ']', segment_id, conditions if conditions is not none else [])) -%}
    {%- endfor -%}
    {{ return(parsed) }}
{% endmacro %}


{#- One rule of the tree, and all below it. where: its path inside the cohort, `rules[0].rules[1]`. -#}
{% macro parse_rule(rule, cohort, where, segment_id, conditions) %}
    {%- if not flagsmith_warehouse.require_keys(rule, cohort, where, ['type'], ['rules', 'conditions', 'id', 'uuid', 'delete']) -%}
        {{ return(none) }}
    {%- endif -%}
    {%- if rule['type'] not in ['ALL', 'ANY', 'NONE'] -%}
        {{ flagsmith_warehouse.refuse_rule(cohort, where ~ '.type', "is " ~ flagsmith_warehouse.quoted(rule['type']),
            'Write ALL, ANY or NONE.') }}
    {%- endif -%}
    {%- set parsed = {'type': rule['type'], 'conditions': [], 'rules': []} -%}
    {%- for part in ['conditions', 'rules'] if rule.get(part) is not none -%}
        {%- if not flagsmith_warehouse.is_list(rule[part]) -%}
            {{ flagsmith_warehouse.refuse_rule(cohort, where ~ '.' ~ part, 'is not a list', 'Write a list, [] for none.') }}
            {{ return(none) }}
        {%- endif -%}
    {%- endfor -%}
    {%- for condition in rule.get('conditions') or [] -%}
        {%- set one = flagsmith_warehouse.parse_condition(
            condition, cohort, where ~ '.conditions[' ~ loop.index0 ~ ']', segment_id) -%}
        {%- do parsed['conditions'].append(one) -%}
        {%- do conditions.append(one) -%}
    {%- endfor -%}
    {%- for child in rule.get('rules') or [] -%}
        {%- do parsed['rules'].append(flagsmith_warehouse.parse_rule(
            child, cohort, where ~ '.rules[' ~ loop.index0 ~ ']', segment_id, conditions)) -%}
    {%- endfor -%}
    {{ return(parsed) }}
{% endmacro %}


{#- One condition. Environment documents write `property_`, everything else `property`. A number or boolean becomes
    text as Flagsmith's own API makes it (Python's str), a list stays one for IN. -#}
{% macro parse_condition(condition, cohort, where, segment_id) %}
    {%- set operators = [
        'EQUAL', 'NOT_EQUAL', 'GREATER_THAN', 'GREATER_THAN_INCLUSIVE', 'LESS_THAN', 'LESS_THAN_INCLUSIVE', 'CONTAINS',
        'NOT_CONTAINS', 'IN', 'REGEX', 'MODULO', 'IS_SET', 'IS_NOT_SET', 'PERCENTAGE_SPLIT',
    ] -%}
    {%- if not flagsmith_warehouse.require_keys(condition, cohort, where, ['operator'], [
        'property', 'property_', 'value', 'id', 'uuid', 'description', 'delete', 'created_with_segment', 'created_at',
        'updated_at', 'version_of',
    ]) -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set operator = condition['operator'] -%}
    {%- set property = condition.get('property', condition.get('property_')) -%}
    {%- set value = condition.get('value') -%}
    {%- if operator not in operators -%}
        {{ flagsmith_warehouse.refuse_rule(cohort, where ~ '.operator', 'is ' ~ flagsmith_warehouse.quoted(operator) ~ ', which Flagsmith does not know',
            'Use one of ' ~ operators | join(', ') ~ '.') }}
    {%- endif -%}
    {%- if property is not string and not (operator == 'PERCENTAGE_SPLIT' and property is none) -%}
        {{ flagsmith_warehouse.refuse_rule(cohort, where ~ '.property', 'is ' ~ flagsmith_warehouse.quoted(property),
            'Name the trait (or a path such as $.identity.identifier) as text; only PERCENTAGE_SPLIT may leave it empty.') }}
    {%- endif -%}
    {%- if value is boolean and cohort is mapping -%}
        {{ flagsmith_warehouse.refuse_rule(cohort, where ~ '.value', 'is the truth value ' ~ value ~ ', which YAML makes of '
            ~ ('yes, on and true' if value else 'no, off and false'), 'Write the text that is meant in quotes: "'
            ~ ('true' if value else 'NO') ~ '".') }}
    {%- elif value is boolean or value is number -%}
        {%- set value = value | string -%}
    {%- endif -%}
    {%- if operator == 'IN' and flagsmith_warehouse.is_list(value) -%}
        {%- set value = value | map('string') | list -%}
    {%- elif value is not string and (value is not none or operator in ['IN', 'PERCENTAGE_SPLIT']) -%}
        {{ flagsmith_warehouse.refuse_rule(cohort, where ~ '.value', 'is ' ~ flagsmith_warehouse.quoted(value) ~ ', on which Flagsmith\'s engine fails',
            'Write text, or for IN a list of texts.') }}
    {%- endif -%}
    {%- if operator == 'PERCENTAGE_SPLIT' and segment_id is none -%}
        {{ flagsmith_warehouse.refuse_rule(cohort, where, 'is a PERCENTAGE_SPLIT, which Flagsmith hashes with the id of the segment',
            'Add `mirrors_segment: <id>` to the cohort (the number in the address of the segment\'s page); for a '
            ~ 'segment that does not exist yet, any number gives a split of the right size but of other people.') }}
    {%- endif -%}
    {{ return({
        'operator': operator, 'property': property or '', 'value': value, 'segment_id': segment_id,
        'cohort': cohort, 'where': where,
    }) }}
{% endmacro %}


{#- Whether a thing is a mapping with the keys it needs, and with none that nobody reads: a misspelt key would be a rule
    that silently says something else. -#}
{% macro require_keys(thing, cohort, where, required, optional) %}
    {%- if thing is not mapping -%}
        {{ flagsmith_warehouse.refuse_rule(cohort, where, 'is not a mapping',
            'Write ' ~ required | join(', ') ~ ' and so on as key: value.') }}
        {{ return(false) }}
    {%- endif -%}
    {%- set keys_here = 'Keys here are: ' ~ (required + optional) | join(', ') ~ '.' -%}
    {%- for key in required if key not in thing -%}
        {{ flagsmith_warehouse.refuse_rule(cohort, where, 'lacks the key ' ~ key, keys_here) }}
        {{ return(false) }}
    {%- endfor -%}
    {%- for key in thing if key not in required + optional -%}
        {{ flagsmith_warehouse.refuse_rule(cohort, where, 'has the unknown key ' ~ flagsmith_warehouse.quoted(key), keys_here) }}
        {{ return(false) }}
    {%- endfor -%}
    {{ return(true) }}
{% endmacro %}


{#- Which cohort, where inside it, what is the matter, what to do. Where `cohort` is one that is being judged, the fault is
    added to its faults, and whoever called goes on to an answer that nobody will use; where it is a name, the run stops. -#}
{% macro refuse_rule(cohort, where, what, remedy) %}
    {%- if cohort is mapping -%}
        {%- do cohort.faults.append({'where': where, 'what': what, 'remedy': remedy}) -%}
        {{ return('') }}
    {%- endif -%}
    {{ exceptions.raise_compiler_error(
        "Cohort '" ~ cohort ~ "' (vars: cohorts:): " ~ where ~ ' ' ~ what ~ '. ' ~ remedy) }}
{% endmacro %}


{#- Says, once, that a condition as Flagsmith's engine reads it can never hold; the run goes on. -#}
{% macro warn_rule(condition, what) %}
    {%- if condition.cohort is mapping and not condition.get('warned') -%}
        {%- do condition.update({'warned': true}) -%}
        {%- do condition.cohort.warnings.append({'where': condition.where, 'what': what,
            'remedy': "Flagsmith's engine accepts it and never matches, and so does the cohort."}) -%}
    {%- elif execute and not condition.get('warned') -%}
        {%- do condition.update({'warned': true}) -%}
        {%- do exceptions.warn("Cohort '" ~ condition.cohort ~ "' (vars: cohorts:): " ~ condition.where ~ ' ' ~ what
            ~ ". Flagsmith's engine accepts it and never matches, and so does the cohort.") -%}
    {%- endif -%}
{% endmacro %}


{#- True for a list, false for a text or a mapping (which Jinja calls sequences too). -#}
{% macro is_list(thing) %}
    {{ return(thing is sequence and thing is not string and thing is not mapping) }}
{% endmacro %}


{#- A thing as it is quoted in a message: a text in quotation marks, anything else (YAML knows dates) as Python writes it. -#}
{% macro quoted(thing) %}
    {{ return(tojson(thing) if thing is string or thing is boolean or thing is none else thing | string) }}
{% endmacro %}
