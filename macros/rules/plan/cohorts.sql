{#- The plan for the SQL of some cohorts, as plain data. Returns
    traits: {trait_key: conditions}, the conditions on values of traits;
    trait_presence: the same for traits that the rules only test for presence (IS_SET);
    identity_values: {source: conditions}, the conditions on other values of an identity (property_source);
    matches: the ways to be a member (plan_matches);
    condition_columns, match_columns: the numbers of columns for their bits, 62 bits in each.
    A condition is listed once, however many cohorts use it: {source, trait_key, words, test, column, bit, cohort, where}.
    Its result is the bit `bit` of the column `conditions_<column>`; `test` is the result of condition_test. -#}
{% macro plan_cohorts(cohorts) %}
    {%- set plan = {'traits': {}, 'trait_presence': {}, 'identity_values': {}, 'matches': [], 'condition_columns': 1, 'match_columns': 1} -%}
    {%- set parsed = [] -%}
    {%- for cohort in cohorts -%}
        {%- set reports_to = cohort if 'faults' in cohort else cohort.key -%}
        {%- set rules = flagsmith_warehouse.parse_rules(cohort.rules, reports_to, flagsmith_warehouse.mirrored_segment_id(cohort)) -%}
        {%- do parsed.append([cohort, reports_to, rules]) -%}
    {%- endfor -%}
    {#- If a rule has a fault, the faults are reported and nothing is planned. -#}
    {%- if cohorts | map(attribute='faults', default=[]) | sum(start=[]) -%}{{ return(plan) }}{%- endif -%}
    {%- set conditions = {} -%}
    {%- for cohort, reports_to, rules in parsed -%}
        {%- set splits = [] -%}
        {%- set tree = flagsmith_warehouse.plan_cohort(rules, cohort, reports_to, conditions, splits) -%}
        {%- do plan.matches.extend(flagsmith_warehouse.plan_matches(cohort, tree, splits)) -%}
    {%- endfor -%}
    {%- for match in plan.matches -%}
        {%- do match.update({'column': loop.index0 // 62, 'bit': 2 ** (loop.index0 % 62)}) -%}
    {%- endfor -%}
    {%- for condition in conditions.values() if condition.source == 'trait' -%}
        {%- do plan.traits.setdefault(condition.trait_key, []).append(condition) -%}
    {%- endfor -%}
    {%- for trait_key, asked in plan.traits.copy().items() if asked | rejectattr('test.holds', 'eq', 'always') | list == [] -%}
        {%- do plan.trait_presence.update({trait_key: plan.traits.pop(trait_key)}) -%}
    {%- endfor -%}
    {%- for condition in conditions.values() if condition.source != 'trait' -%}
        {%- do plan.identity_values.setdefault(condition.source, []).append(condition) -%}
    {%- endfor -%}
    {%- do flagsmith_warehouse.require_environment_key(plan) -%}
    {%- do plan.update({
        'condition_columns': [(conditions | length + 61) // 62, 1] | max,
        'match_columns': [(plan.matches | length + 61) // 62, 1] | max,
    }) -%}
    {{ return(plan) }}
{% endmacro %}


{#- Refuses conditions on an environment's key if no key is declared; also splits, because they hash the key. -#}
{% macro require_environment_key(plan) %}
    {%- for source in ['key', 'environment_key'] -%}
        {%- for condition in plan.identity_values.get(source, []) -%}
            {%- do flagsmith_warehouse.flagsmith_environment('key', condition.cohort, condition.where) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- for match in plan.matches if match.split_by is not none -%}
        {%- do flagsmith_warehouse.flagsmith_environment('key', match.cohort, match.where) -%}
    {%- endfor -%}
{% endmacro %}


{#- The ways to be a member of one cohort. Without percentage splits of identities there is one way. With splits there is one way
    for each range of the hash in which all splits have the same result. An identity without a key gets the hash 9999, which is
    outside every split. splits: {last, segment_id, cohort, where} of each split in the tree. Returns a list of
    {cohort_key, words, tree, split_by: a segment's id or none, above and up_to: the range, cohort and where: for messages}. -#}
{% macro plan_matches(cohort, tree, splits) %}
    {%- set matches = [] -%}
    {%- set first = splits[0] if splits else {'segment_id': none, 'cohort': none, 'where': none} -%}
    {%- set ends = splits | map(attribute='last') | unique | sort -%}
    {%- for up_to in ends + [9999] -%}
        {%- do matches.append({
            'cohort_key': cohort.key, 'words': flagsmith_warehouse.rules_in_words(cohort.rules), 'tree': tree,
            'split_by': first.segment_id, 'above': ends[loop.index0 - 1] if loop.index0 else -1, 'up_to': up_to,
            'cohort': first.cohort, 'where': first.where,
        }) -%}
    {%- endfor -%}
    {{ return(matches) }}
{% endmacro %}
