{#- The cohorts declared in `vars: cohorts:` that are in order, with their defaults: a list of
    {key, number, name, description, environment, rules, mirrors_segment}. A wrong one is left out, and is in
    cohort_declaration_problems. -#}
{% macro cohorts() %}
    {%- set misread = flagsmith_warehouse.misread_cohorts() -%}
    {{ return(flagsmith_warehouse.judge_cohorts(var('cohorts', []) or []).cohorts | rejectattr('number', 'in', misread) | list) }}
{% endmacro %}


{#- The places in the list (from 1) of cohorts with a number that YAML reads otherwise than it is written. dbt sees only what
    YAML has read: `flagsmith-warehouse refresh` reads the file itself and leaves word in file_problems. -#}
{% macro misread_cohorts() %}
    {%- set relation = flagsmith_warehouse.file_problems() -%}
    {%- if not execute or not adapter.get_relation(database=relation.database, schema=relation.schema, identifier=relation.identifier) -%}
        {{ return([]) }}
    {%- endif -%}
    {%- set query = "select distinct row_number from " ~ relation ~ " where declaration = 'cohorts' and row_number is not null" -%}
    {{ return(run_query(query).columns[0].values() | map('int') | list) }}
{% endmacro %}


{#- The same of any list of cohorts; a wrong one stops the run. -#}
{% macro check_cohorts(declared) %}
    {%- set judged = flagsmith_warehouse.judge_cohorts(declared) -%}
    {%- for fault in judged.faults if fault.severity == 'problem' -%}
        {{ flagsmith_warehouse.refuse_rule(fault.called, fault.where, fault.what, fault.remedy) }}
    {%- endfor -%}
    {{ return(judged.cohorts) }}
{% endmacro %}


{#- Judges each cohort by itself, its rules too. Returns {cohorts: those in order, with their defaults; faults: a list of
    {severity, number (its place in the list, from 1), called (its key), where (inside it), what, remedy};
    traits: a list of [number, key, a trait that its rules ask for]}. -#}
{% macro judge_cohorts(declared) %}
    {%- set judged = {'cohorts': [], 'faults': [], 'traits': []} -%}
    {%- if not flagsmith_warehouse.is_list(declared) -%}
        {%- do judged.faults.append({
            'severity': 'problem', 'number': none, 'called': 'of no name', 'where': 'cohorts', 'what': 'is not a list',
            'remedy': 'Write one `- key: ...` for each cohort, [] for none.',
        }) -%}
        {{ return(judged) }}
    {%- endif -%}
    {%- set keys = [] -%}
    {%- for cohort in declared -%}
        {%- set number = loop.index -%}
        {%- set called = ((cohort.get('key') if cohort is mapping else none) or 'number ' ~ number) | string -%}
        {%- set candidate = {'key': called, 'number': number, 'faults': [], 'warnings': []} -%}
        {%- do flagsmith_warehouse.judge_cohort(cohort, candidate, keys) -%}
        {%- do keys.append(called) -%}
        {%- if not candidate.faults -%}
            {%- set compiled = flagsmith_warehouse.compile_cohorts([candidate]) -%}
            {%- for bit in compiled.get('identity', []) if bit.source in ['key', 'environment_key'] -%}
                {%- do flagsmith_warehouse.flagsmith_environment('key', candidate, bit.where) -%}
            {%- endfor -%}
            {%- for verdict in compiled.get('verdicts', []) if verdict.split_by is not none -%}
                {%- do flagsmith_warehouse.flagsmith_environment('key', candidate, verdict.where) -%}
            {%- endfor -%}
            {%- for trait in compiled.traits if not trait.startswith('$.') and not candidate.faults -%}
                {%- do judged.traits.append([number, called, trait]) -%}
            {%- endfor -%}
        {%- endif -%}
        {%- set faults = candidate.pop('faults') -%}
        {%- set warnings = candidate.pop('warnings') -%}
        {%- for severity, found in [('problem', faults[:1]), ('warning', warnings)] -%}
            {%- for fault in found -%}
                {%- do judged.faults.append({
                    'severity': severity, 'number': number, 'called': called, 'where': fault.where, 'what': fault.what,
                    'remedy': fault.remedy,
                }) -%}
            {%- endfor -%}
        {%- endfor -%}
        {%- if not faults -%}{%- do judged.cohorts.append(candidate) -%}{%- endif -%}
    {%- endfor -%}
    {{ return(judged) }}
{% endmacro %}


{#- Judges everything of a cohort but its rules (compile_cohorts reads these), and gives the candidate what it declares.
    keys: those of the cohorts before it. -#}
{% macro judge_cohort(cohort, candidate, keys) %}
    {%- if not flagsmith_warehouse.require_keys(cohort, candidate, 'the cohort', ['key', 'rules'],
        ['name', 'description', 'environment', 'mirrors_segment']) -%}
        {{ return('') }}
    {%- endif -%}
    {%- for text in ['key', 'name', 'description', 'environment'] if cohort.get(text) is not none or text == 'key' -%}
        {%- if cohort[text] is not string or not cohort[text] | trim and text != 'description' -%}
            {{ flagsmith_warehouse.refuse_rule(candidate, text, 'is ' ~ flagsmith_warehouse.quoted(cohort[text]), 'Write a text, in quotes if it looks like a number, a date, yes or no.') }}
        {%- endif -%}
    {%- endfor -%}
    {%- set mirrored = cohort.get('mirrors_segment') -%}
    {%- if mirrored is not none and (mirrored is boolean or not (mirrored is integer or mirrored is string and mirrored | trim)) -%}
        {{ flagsmith_warehouse.refuse_rule(candidate, 'mirrors_segment', 'is ' ~ flagsmith_warehouse.quoted(mirrored), "Write the segment's id (a number) or its name.") }}
    {%- endif -%}
    {%- if candidate.key in keys -%}
        {{ flagsmith_warehouse.refuse_rule(candidate, 'key', 'is declared twice', 'Give each cohort a key of its own.') }}
    {%- endif -%}
    {%- do candidate.update({
        'name': cohort.get('name') or candidate.key, 'description': cohort.get('description') or '',
        'environment': cohort.get('environment'), 'rules': cohort['rules'], 'mirrors_segment': mirrored,
    }) -%}
{% endmacro %}


{#- The id with which a PERCENTAGE_SPLIT of the cohort hashes: that of the segment it mirrors, null where only a name is
    known. -#}
{% macro mirrored_segment_id(cohort) %}
    {{ return(cohort.mirrors_segment if cohort.mirrors_segment is integer else none) }}
{% endmacro %}


{#- What Flagsmith calls the environments of our routes: `vars: flagsmith_environments:`, {route: {key:, name:}}, the
    client-side environment key and the name shown in Flagsmith. `of`: key or name. An SQL expression on `environment`;
    the name is the route's where none is declared. -#}
{% macro flagsmith_environment(of, cohort, where) %}
    {%- set declared = var('flagsmith_environments', {}) or {} -%}
    {%- set whens = [] -%}
    {%- for environment, its in declared.items() if its.get(of) is not none -%}
        {%- do whens.append('when ' ~ text_literal(environment) ~ ' then ' ~ text_literal(its[of] | string)) -%}
    {%- endfor -%}
    {%- if of == 'key' and not whens -%}
        {{ flagsmith_warehouse.refuse_rule(cohort, where, "needs the environment's key",
            'Declare it in dbt_project.yml, vars: flagsmith_environments: {production: {key: <client-side key>}}.') }}
    {%- endif -%}
    {{ return('environment' if not whens else 'case environment ' ~ whens | join(' ') ~ (' else environment' if of == 'name' else '') ~ ' end') }}
{% endmacro %}


{#- Select: one row per declared cohort: cohort_key, name, description, environment, mirrors_segment_id or
    mirrors_segment_name, rule_text. No row, but the columns, where none is declared. -#}
{% macro declared_cohorts(cohorts) %}
    {%- for cohort in cohorts or [{}] %}
    select
        {%- for name, text in [
            ('cohort_key', cohort.key), ('name', cohort.name), ('description', cohort.description),
            ('environment', cohort.environment),
            ('mirrors_segment_name', cohort.mirrors_segment if cohort.mirrors_segment is string else none),
            ('rule_text', flagsmith_warehouse.rules_in_words(cohort.rules or [])),
        ] %}
        cast({{ 'null' if text is none or text is undefined else text_literal(text | string) }} as {{ dbt.type_string() | lower }}) as {{ name }},
        {%- endfor %}
        cast({{ cohort.mirrors_segment if cohort.mirrors_segment is integer else 'null' }} as bigint) as mirrors_segment_id
    {%- if not cohorts %}
    where 1 = 0
    {%- endif %}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
{% endmacro %}


{#- A rule tree as one readable line: `country EQUAL "FR" and none of (age LESS_THAN "18")`. -#}
{% macro rules_in_words(rules) %}
    {%- set words = [] -%}
    {%- for rule in rules -%}
        {%- for parts in [rule.get('conditions') or [], rule.get('rules') or []] if parts -%}
            {%- set these = [] -%}
            {%- for part in parts -%}
                {%- do these.append(flagsmith_warehouse.rules_in_words([part]) if 'type' in part else
                    ((part.get('property', part.get('property_')) or 'identity') ~ ' ' ~ part.operator
                    ~ ('' if part.operator in ['IS_SET', 'IS_NOT_SET'] else ' ' ~ (part.value if flagsmith_warehouse.is_list(part.get('value')) else '"' ~ part.get('value') ~ '"')))) -%}
            {%- endfor -%}
            {%- set joined = these | join(' and ' if rule.type == 'ALL' else ' or ') -%}
            {%- do words.append('none of (' ~ joined ~ ')' if rule.type == 'NONE' else
                '(' ~ joined ~ ')' if these | length > 1 else joined) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(words | join(' and ')) }}
{% endmacro %}
