{#- A cohort's rules as a tree. Each node is one of
    {join: all, any or none; of: nodes}, where `all` of an empty list holds;
    {condition: a condition of the plan}; {split: a percentage split of identities};
    {environment: a name}; {constant: true or false}.
    A segment matches if all its rules match. A segment without rules never matches.
    conditions: all conditions of the plan, by their content; splits: a list of splits. This macro extends both. -#}
{% macro plan_cohort(rules, cohort, reports_to, conditions, splits) %}
    {%- if not rules -%}
        {%- do flagsmith_warehouse.warn_rule({'cohort': reports_to, 'where': 'rules'}, 'is empty') -%}
        {{ return({'constant': false}) }}
    {%- endif -%}
    {%- set nodes = [] -%}
    {%- for rule in rules -%}
        {%- do nodes.append(flagsmith_warehouse.plan_rule(rule, conditions, splits)) -%}
    {%- endfor -%}
    {%- if cohort.environment is not none -%}
        {%- do nodes.append({'environment': cohort.environment}) -%}
    {%- endif -%}
    {{ return(nodes[0] if nodes | length == 1 else {'join': 'all', 'of': nodes}) }}
{% endmacro %}


{#- One rule. Its conditions and its child rules are two groups. Each group must satisfy the rule's type; an empty group does
    not count. -#}
{% macro plan_rule(rule, conditions, splits) %}
    {%- set of_conditions = [] -%}
    {%- for condition in rule.conditions -%}
        {%- do of_conditions.append(flagsmith_warehouse.plan_condition(condition, conditions, splits)) -%}
    {%- endfor -%}
    {%- set of_rules = [] -%}
    {%- for child in rule.rules -%}
        {%- do of_rules.append(flagsmith_warehouse.plan_rule(child, conditions, splits)) -%}
    {%- endfor -%}
    {%- set groups = [] -%}
    {%- for nodes in [of_conditions, of_rules] if nodes -%}
        {%- do groups.append({'join': rule.type | lower, 'of': nodes}) -%}
    {%- endfor -%}
    {{ return(groups[0] if groups | length == 1 else {'join': 'all', 'of': groups}) }}
{% endmacro %}


{#- One condition. If a trait has the same name as a path into the context, the trait counts. A path that leads nowhere counts
    as not set. -#}
{% macro plan_condition(condition, conditions, splits) %}
    {%- if condition.property == '' and condition.operator == 'PERCENTAGE_SPLIT' -%}
        {%- set split = dict(condition, last=flagsmith_warehouse.last_inside(condition)) -%}
        {%- if split.last < 0 -%}{{ return({'constant': false}) }}{%- endif -%}
        {%- do splits.append(split) -%}
        {{ return({'split': split}) }}
    {%- endif -%}
    {%- set path = flagsmith_warehouse.property_source(condition) -%}
    {%- set test = flagsmith_warehouse.condition_test(condition) -%}
    {%- if test.holds == 'never' -%}{{ return({'constant': false}) }}{%- endif -%}
    {%- set of_trait = flagsmith_warehouse.listed_condition(conditions, condition, test, 'trait', condition.property) -%}
    {%- set holds = {'condition': of_trait} -%}
    {%- if path -%}
        {%- set is_set = dict(condition, operator='IS_SET', value=none) -%}
        {%- set trait_is_set = flagsmith_warehouse.listed_condition(conditions, is_set, {'holds': 'always', 'reads_version': false, 'split_by': none}, 'trait', condition.property) -%}
        {%- set of_path = flagsmith_warehouse.listed_condition(conditions, condition, test, path.source, path.trait_key) -%}
        {%- set holds = {'join': 'any', 'of': [holds, {'join': 'all', 'of': [
            {'join': 'none', 'of': [{'condition': trait_is_set}]}, {'condition': of_path},
        ]}]} -%}
    {%- endif -%}
    {{ return({'join': 'none', 'of': [holds]} if condition.operator == 'IS_NOT_SET' else holds) }}
{% endmacro %}


{#- The plan's entry for a condition on one value. Equal conditions share an entry. IS_NOT_SET shares that of IS_SET. -#}
{% macro listed_condition(conditions, condition, test, source, trait_key) %}
    {%- set is_presence = condition.operator in ['IS_SET', 'IS_NOT_SET'] -%}
    {%- set operator = 'IS_SET' if is_presence else condition.operator -%}
    {%- set value = none if is_presence else condition.value -%}
    {%- set asked = (source, trait_key, operator, tojson(value), condition.segment_id if operator == 'PERCENTAGE_SPLIT' else none) -%}
    {%- if asked not in conditions -%}
        {%- do conditions.update({asked: {
            'source': source, 'trait_key': trait_key, 'test': test,
            'words': flagsmith_warehouse.condition_in_words({'property': trait_key or source, 'operator': operator, 'value': value}),
            'column': conditions | length // 62, 'bit': 2 ** (conditions | length % 62),
            'cohort': condition.cohort, 'where': condition.where,
        }}) -%}
    {%- endif -%}
    {{ return(conditions[asked]) }}
{% endmacro %}
