{#- Compiles the rules of all cohorts together, so that each trait is read once however many conditions ask for it.
    Every distinct condition gets a bit in one of the columns conditions_0, conditions_1, ... (62 bits each). A trait's
    value sets the bits of the conditions it satisfies; a cohort's predicate is a question about bits.
    Returns {traits: {trait_key: [bit, ...]}, identity: [bit, ...], verdicts: as compile_splits returns them, columns:
    their number}, where a bit is {column, value, predicate, source, splits_by, compares_versions}. -#}
{% macro compile_cohorts(cohorts) %}
    {%- set conditions = [] -%}
    {%- set trees = [] -%}
    {%- for cohort in cohorts -%}
        {%- do trees.append(flagsmith_warehouse.parse_rules(
            cohort.rules, cohort if 'faults' in cohort else cohort.key, flagsmith_warehouse.mirrored_segment_id(cohort), conditions)) -%}
    {%- endfor -%}
    {%- if cohorts | map(attribute='faults', default=[]) | sum(start=[]) -%}
        {#- What cannot be read is not compiled. -#}
        {{ return({'traits': {}}) }}
    {%- endif -%}
    {%- set bits = {} -%}
    {%- for condition in conditions -%}
        {%- do condition.update({'predicate': flagsmith_warehouse.condition_on_bits(condition, bits)}) -%}
    {%- endfor -%}
    {%- set verdicts = [] -%}
    {%- for tree in trees -%}
        {%- set cohort = cohorts[loop.index0] -%}
        {%- do verdicts.extend(flagsmith_warehouse.compile_splits(
            tree, cohort, conditions | selectattr('predicate', 'none') | selectattr('cohort', 'eq', cohort if 'faults' in cohort else cohort.key) | list)) -%}
    {%- endfor -%}
    {%- set traits = {} -%}
    {%- for bit in bits.values() if bit.source == 'trait' -%}
        {%- do traits.setdefault(bit.trait_key, []).append(bit) -%}
    {%- endfor -%}
    {{ return({
        'traits': traits,
        'identity': bits.values() | selectattr('source', 'ne', 'trait') | list,
        'verdicts': verdicts,
        'columns': (bits | length + 61) // 62,
    }) }}
{% endmacro %}


{#- One rule tree as one SQL predicate on the bits of its conditions: the documented entry for a single segment.
    rules: as in parse_rules; segment_id: for PERCENTAGE_SPLIT.
    Returns what compile_cohorts returns, with `predicate` beside it. -#}
{% macro compile_rules(rules, segment_id=none) %}
    {%- set compiled = flagsmith_warehouse.compile_cohorts([
        {'key': 'rules', 'rules': rules, 'mirrors_segment': segment_id, 'environment': none}
    ]) -%}
    {%- set predicates = [] -%}
    {%- for verdict in compiled.verdicts -%}
        {%- do predicates.append(verdict.predicate if verdict.split_by is none else
            '(' ~ verdict.predicate ~ ' and split_hash between ' ~ (verdict.above + 1) ~ ' and ' ~ verdict.up_to ~ ')') -%}
    {%- endfor -%}
    {%- do compiled.update({'predicate': predicates | join(' or ')}) -%}
    {{ return(compiled) }}
{% endmacro %}


{#- The predicates of one cohort: one, or with splits of identities one for each range of the hash in which all of them
    answer alike, so that a hash is asked only of those for whom a range's predicate holds. The hash of an identity
    without a key is 9999, above all: no split holds for it. splits: the conditions. Returns a list of
    {cohort, predicate, split_by: the segment's id or null, above, up_to: the range of the hash}, and of the first split
    `where` it is. -#}
{% macro compile_splits(tree, cohort, splits) %}
    {%- set verdicts = [] -%}
    {%- set ends = splits | map(attribute='last') | unique | sort -%}
    {%- for up_to in ends + [9999] -%}
        {%- for split in splits -%}
            {%- do split.update({'predicate': 'true' if up_to <= split.last else 'false'}) -%}
        {%- endfor -%}
        {%- do verdicts.append({
            'cohort': cohort.key, 'predicate': flagsmith_warehouse.compile_tree(tree, cohort),
            'split_by': splits[0].segment_id if splits else none, 'where': splits[0].where if splits else none,
            'above': ends[loop.index0 - 1] if loop.index0 else -1, 'up_to': up_to,
        }) -%}
    {%- endfor -%}
    {{ return(verdicts) }}
{% endmacro %}


{#- A segment matches where all its rules do, and never without one. -#}
{% macro compile_tree(rules, cohort) %}
    {%- if not rules -%}
        {%- do flagsmith_warehouse.warn_rule({'cohort': cohort if 'faults' in cohort else cohort.key, 'where': 'rules'}, 'is empty') -%}
        {{ return('false') }}
    {%- endif -%}
    {%- set all = [] -%}
    {%- for rule in rules -%}
        {%- do all.append(flagsmith_warehouse.compile_rule(rule)) -%}
    {%- endfor -%}
    {%- if cohort.environment is not none -%}
        {%- do all.append('environment = ' ~ text_literal(cohort.environment)) -%}
    {%- endif -%}
    {{ return(all | join(' and ')) }}
{% endmacro %}


{#- A rule asks its conditions and its child rules apart: both must answer as its type wants, and where there are none of
    a sort they do not count. -#}
{% macro compile_rule(rule) %}
    {%- set children = [] -%}
    {%- for child in rule.rules -%}
        {%- do children.append(flagsmith_warehouse.compile_rule(child)) -%}
    {%- endfor -%}
    {%- set parts = [] -%}
    {%- for predicates in [flagsmith_warehouse.fold_bits(rule), children] if predicates -%}
        {%- do parts.append(('not ' if rule.type == 'NONE' else '')
            ~ '(' ~ predicates | join(' and ' if rule.type == 'ALL' else ' or ') ~ ')') -%}
    {%- endfor -%}
    {{ return('(' ~ parts | join(' and ') ~ ')' if parts else 'true') }}
{% endmacro %}


{#- The predicates of a rule's own conditions: those that are a bit each are asked together, column by column. (Of the
    benchmark's 280 questions this makes 165: a quarter less time to answer them.) -#}
{% macro fold_bits(rule) %}
    {%- set predicates = [] -%}
    {%- set masks = {} -%}
    {%- for condition in rule.conditions -%}
        {%- if condition.bit is defined -%}
            {%- set mask = masks.setdefault(condition.bit.column, []) -%}
            {%- do mask.append(condition.bit.value) -%}
        {%- else -%}
            {%- do predicates.append(condition.predicate) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- for column, values in masks.items() -%}
        {%- set mask = values | unique | sum -%}
        {%- do predicates.append((bits_are_set if rule.type == 'ALL' else bit_is_set)('conditions_' ~ column, mask)) -%}
    {%- endfor -%}
    {{ return(predicates) }}
{% endmacro %}


{#- A condition as a question about bits, which it registers, or null for a split of identities, which is none of a bit
    but of the hash: compile_splits answers it. A trait that is named like a path into the context goes
    before that path; a path that leads nowhere is never set. -#}
{% macro condition_on_bits(condition, bits) %}
    {%- set source = flagsmith_warehouse.context_of(condition) -%}
    {%- if condition.property == '' and condition.operator == 'PERCENTAGE_SPLIT' -%}
        {%- do condition.update({'last': flagsmith_warehouse.last_inside(condition)}) -%}
        {{ return('false' if condition.last < 0 else none) }}
    {%- endif -%}
    {%- set asked = flagsmith_warehouse.register_bit(bits, condition, 'trait', condition.property) -%}
    {%- if source == 'nothing' or source == 'trait' -%}
        {%- set holds = asked -%}
        {%- if asked != 'false' and condition.operator != 'IS_NOT_SET' -%}
            {%- do condition.update({'bit': bits.values() | selectattr('asked', 'eq', asked) | first}) -%}
        {%- endif -%}
    {%- else -%}
        {%- set is_set = flagsmith_warehouse.register_bit(
            bits, {'operator': 'IS_SET', 'segment_id': none, 'cohort': condition.cohort, 'where': condition.where}, 'trait', condition.property) -%}
        {%- set of_context = flagsmith_warehouse.register_bit(bits, condition, 'trait', source[1]) if source is not string
            else flagsmith_warehouse.register_bit(bits, condition, source) -%}
        {%- set holds = '(' ~ asked ~ ' or not ' ~ is_set ~ ' and ' ~ of_context ~ ')' -%}
    {%- endif -%}
    {{ return(('not ' if condition.operator == 'IS_NOT_SET' else '') ~ holds) }}
{% endmacro %}


{#- The bit of a condition on a value: a trait's, or one of the identity itself (source `identifier`, `key`,
    `environment_name` or `environment_key`). Equal conditions share it. Returns the SQL that asks for it. -#}
{% macro register_bit(bits, condition, source, trait_key='') %}
    {%- set prefix = 'value' if source == 'trait' else source -%}
    {%- set predicate = flagsmith_warehouse.condition_predicate(condition, prefix) -%}
    {%- if predicate == 'false' -%}
        {{ return('false') }}
    {%- endif -%}
    {%- set name = source ~ '|' ~ trait_key ~ '|' ~ predicate -%}
    {%- if name not in bits -%}
        {%- do bits.update({name: {
            'source': source, 'trait_key': trait_key, 'predicate': predicate, 'column': bits | length // 62,
            'value': 2 ** (bits | length % 62), 'cohort': condition.cohort, 'where': condition.where,
            'splits_by': condition.segment_id if '_split_' in predicate else none,
            'compares_versions': '_string is not null and ' in predicate,
            'asked': bit_is_set('conditions_' ~ bits | length // 62, 2 ** (bits | length % 62)),
        }}) -%}
    {%- endif -%}
    {{ return(bits[name].asked) }}
{% endmacro %}


{#- Where a property leads in Flagsmith's evaluation context: `trait` for a plain name and for what is no path at all,
    `identifier`, `key`, `environment_name`, `environment_key`, ['trait', key] for $.identity.traits.<key>, or `nothing`. -#}
{% macro context_of(condition) %}
    {%- set property = condition.property -%}
    {%- if not property.startswith('$.') -%}
        {{ return('trait') }}
    {%- endif -%}
    {%- set name = '[\\u0080-\\uFFFFa-zA-Z_][\\u0080-\\uFFFFa-zA-Z0-9_-]*' -%}
    {%- set step = '\\.' ~ name ~ '|\\[\'[^\'\\\\\\x00-\\x1f]*\'\\]|\\["[^"\\\\\\x00-\\x1f]*"\\]' -%}
    {%- if not modules.re.fullmatch('\\$(?:' ~ step ~ ')+', property) -%}
        {%- if modules.re.search('[\\[*]|\\.\\.|\\s[.\\[]', property) -%}
            {{ flagsmith_warehouse.refuse_rule(condition.cohort, condition.where ~ '.property',
                'is the path ' ~ tojson(property) ~ ', which cannot be compiled',
                "Paths of names can: $.identity.identifier, $.identity.traits['my trait'], $.environment.name.") }}
        {%- endif -%}
        {{ return('trait') }}
    {%- endif -%}
    {%- set names = [] -%}
    {%- for part in modules.re.findall(step, property) -%}
        {%- do names.append(part[1:] if part.startswith('.') else part[2:-2]) -%}
    {%- endfor -%}
    {%- if names[0] in ['flags', 'features', 'segments'] and names | length > 1 -%}
        {{ flagsmith_warehouse.refuse_rule(condition.cohort, condition.where ~ '.property',
            'is the path ' ~ tojson(property) ~ ': cohorts know traits, not ' ~ names[0],
            'Name a trait, $.identity.identifier, $.identity.key, $.environment.name or $.environment.key.') }}
    {%- elif names[:2] == ['identity', 'traits'] and names | length == 3 -%}
        {{ return(['trait', names[2]]) }}
    {%- endif -%}
    {{ return({
        "['identity', 'identifier']": 'identifier',
        "['identity', 'key']": 'key',
        "['environment', 'name']": 'environment_name',
        "['environment', 'key']": 'environment_key',
    }.get(names | string, 'nothing')) }}
{% endmacro %}
