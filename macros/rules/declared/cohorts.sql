{#- The cohorts that people declared: `vars: cohorts:` itself, or the list in the YAML file that it names (`cohorts.yml`, relative to
    the project). For a file that cannot be read, a text that says why; judge_cohorts reports it like any other mistake. -#}
{% macro given_cohorts() %}
    {%- set declared = var('cohorts', none) or [] -%}
    {%- if declared is not string -%}{{ return(declared) }}{%- endif -%}
    {%- if not execute -%}{{ return([]) }}{%- endif -%}
    {%- set text = flagsmith_warehouse.file_text(flagsmith_warehouse.project_path(declared)) -%}
    {%- if text is none -%}
        {{ exceptions.raise_compiler_error('vars: cohorts names the file ' ~ declared ~ ', which is not there. Nothing was built. Put it back, or write [].') }}
    {%- elif text is not string -%}
        {{ return('is not UTF-8: save it as UTF-8') }}
    {%- endif -%}
    {%- set no_yaml = 'is not valid YAML: look for a missing indentation, bracket or quotation mark' -%}
    {%- set read = fromyaml(text, no_yaml) -%}
    {{ return([] if read is none else {} if read is string and read != no_yaml else read) }}
{% endmacro %}


{#- Where people declare cohorts: the file that `vars: cohorts:` names, or the one that holds that var. -#}
{% macro cohorts_declared_in() %}
    {%- set declared = var('cohorts', none) -%}
    {{ return(declared if declared is string else 'dbt_project.yml') }}
{% endmacro %}


{#- The correctly declared cohorts, with their defaults: a list of {key, number, name, description, environment, rules,
    mirrors_segment}. A wrong one is left out; cohort_declaration_problems has it. -#}
{% macro cohorts() %}
    {%- set misread = flagsmith_warehouse.misread_cohorts().values() | list -%}
    {{ return(flagsmith_warehouse.judge_cohorts(flagsmith_warehouse.given_cohorts()).cohorts | rejectattr('number', 'in', misread) | list) }}
{% endmacro %}


{#- The cohorts with a number whose value in YAML differs from what is written (like 12:30), {fingerprint: place in the list, from
    1}. dbt sees only the value. `flagsmith-warehouse refresh` and `check` read the file itself, and write to file_problems a
    fingerprint of the cohort as YAML reads it. An edited cohort has a new fingerprint, so it is no longer in this list. -#}
{% macro misread_cohorts() %}
    {%- set declared, misread = flagsmith_warehouse.given_cohorts(), {} -%}
    {%- set relation = flagsmith_warehouse.clean_file('file_problems') or flagsmith_warehouse.file_problems() -%}
    {%- set is_there = relation is string or execute and adapter.get_relation(
        database=relation.database, schema=relation.schema, identifier=relation.identifier) -%}
    {%- if not execute or not is_there or not flagsmith_warehouse.is_list(declared) -%}{{ return(misread) }}{%- endif -%}
    {%- set query = "select distinct fingerprint from " ~ relation ~ " where declaration = 'cohorts'" -%}
    {%- set known = run_query(query).columns[0].values() -%}
    {%- for cohort in declared -%}
        {%- set fingerprint = local_md5(cohort | string) -%}
        {%- if fingerprint in known -%}{%- do misread.update({fingerprint: loop.index}) -%}{%- endif -%}
    {%- endfor -%}
    {{ return(misread) }}
{% endmacro %}


{#- Like `cohorts`, but for any list of cohorts, and a wrong cohort stops the run. -#}
{% macro check_cohorts(declared) %}
    {%- set judged = flagsmith_warehouse.judge_cohorts(declared) -%}
    {%- for fault in judged.faults if fault.severity == 'problem' -%}
        {{ flagsmith_warehouse.refuse_rule(fault.called, fault.where, fault.what, fault.remedy) }}
    {%- endfor -%}
    {{ return(judged.cohorts) }}
{% endmacro %}


{#- Judges each cohort and its rules. Returns {cohorts: the correct ones, with their defaults; faults: a list of
    {severity, number (the cohort's place in the list, from 1), called (its key), where (inside it), what, remedy};
    traits: a list of [number, key, a trait that the rules use]}. -#}
{% macro judge_cohorts(declared) %}
    {%- set judged = {'cohorts': [], 'faults': [], 'traits': []} -%}
    {%- if not flagsmith_warehouse.is_list(declared) -%}
        {%- set (what, remedy) = (declared if declared is string else 'is not a list').partition(': ')[::2] -%}
        {%- do judged.faults.append({
            'severity': 'problem', 'number': none, 'called': 'of no name', 'where': 'cohorts', 'what': what,
            'remedy': remedy.capitalize() or 'Write one `- key: ...` for each cohort, [] for none.',
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
            {%- set plan = flagsmith_warehouse.plan_cohorts([candidate]) -%}
            {%- for trait_key in plan.traits.keys() | list + plan.trait_presence.keys() | list if not trait_key.startswith('$.') and not candidate.faults -%}
                {%- do judged.traits.append([number, called, trait_key]) -%}
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


{#- Judges everything in a cohort except its rules (plan_cohorts reads these), and copies its values to the candidate.
    keys: the keys of the cohorts before it. -#}
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


{#- The id that a PERCENTAGE_SPLIT of the cohort hashes with: the id of the segment that it mirrors. None if only the segment's
    name is declared. -#}
{% macro mirrored_segment_id(cohort) %}
    {{ return(cohort.mirrors_segment if cohort.mirrors_segment is integer else none) }}
{% endmacro %}
