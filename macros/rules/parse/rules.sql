{#- Reads a Flagsmith rule tree strictly: the rules of one segment, as Flagsmith's API or an environment document
    writes them. Refuses everything that Flagsmith's engine would fail on, with the place and the remedy.
    rules: list of {type: ALL|ANY|NONE, rules: [...], conditions: [{property, operator, value}]}.
    cohort: the cohort's name for messages, or a cohort that is being judged (judge_cohorts). segment_id: the id that a
    PERCENTAGE_SPLIT hashes with.
    Returns the same tree with conditions normalised: {operator, property, value, segment_id, where}. -#}
{% macro parse_rules(rules, cohort, segment_id=none) %}
    {%- if not flagsmith_warehouse.is_list(rules) -%}
        {{ flagsmith_warehouse.refuse_rule(cohort, 'rules', 'is not a list of rules',
            "Paste the list under a segment's `rules`: [{type: ALL, rules: [...], conditions: [...]}].") }}
        {{ return([]) }}
    {%- endif -%}
    {%- set parsed = [] -%}
    {%- for rule in rules -%}
        {%- do parsed.append(flagsmith_warehouse.parse_rule(
            rule, cohort, 'rules[' ~ loop.index0 ~ ']', segment_id)) -%}
    {%- endfor -%}
    {{ return(parsed) }}
{% endmacro %}


{#- One rule of the tree with all rules below it. where: its path inside the cohort, like `rules[0].rules[1]`. -#}
{% macro parse_rule(rule, cohort, where, segment_id) %}
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
        {%- do parsed['conditions'].append(flagsmith_warehouse.parse_condition(
            condition, cohort, where ~ '.conditions[' ~ loop.index0 ~ ']', segment_id)) -%}
    {%- endfor -%}
    {%- for child in rule.get('rules') or [] -%}
        {%- do parsed['rules'].append(flagsmith_warehouse.parse_rule(
            child, cohort, where ~ '.rules[' ~ loop.index0 ~ ']', segment_id)) -%}
    {%- endfor -%}
    {{ return(parsed) }}
{% endmacro %}


{#- Whether a value is a mapping with all required keys and no unknown ones. (With a misspelt key, a rule would silently mean
    something else.) -#}
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


{#- True for a list, false for a text or a mapping (which Jinja also calls sequences). -#}
{% macro is_list(thing) %}
    {{ return(thing is sequence and thing is not string and thing is not mapping) }}
{% endmacro %}
