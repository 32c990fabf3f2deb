{#- The cohorts declared in `vars: cohorts:`, checked and with their defaults: a list of
    {key, name, description, environment, rules, mirrors_segment}. -#}
{% macro cohorts() %}
    {{ return(flagsmith_warehouse.check_cohorts(var('cohorts', []) or [])) }}
{% endmacro %}


{#- Checks what was declared, everything but the rules themselves (compile_cohorts reads these). -#}
{% macro check_cohorts(declared) %}
    {%- if not flagsmith_warehouse.is_list(declared) -%}
        {{ exceptions.raise_compiler_error("vars: cohorts: is not a list. Write one `- key: ...` for each cohort, [] for none.") }}
    {%- endif -%}
    {%- set checked = [] -%}
    {%- for cohort in declared -%}
        {%- set place = 'number ' ~ loop.index -%}
        {%- set called = (cohort.get('key') if cohort is mapping else none) or place -%}
        {%- do flagsmith_warehouse.require_keys(cohort, called, 'the cohort', ['key', 'rules'],
            ['name', 'description', 'environment', 'mirrors_segment']) -%}
        {%- for text in ['key', 'name', 'description', 'environment'] if cohort.get(text) is not none or text == 'key' -%}
            {%- if cohort[text] is not string or not cohort[text] | trim and text != 'description' -%}
                {{ flagsmith_warehouse.refuse_rule(called, text, 'is ' ~ tojson(cohort[text], cohort[text]), 'Write a text, in quotes if it looks like a number.') }}
            {%- endif -%}
        {%- endfor -%}
        {%- set mirrored = cohort.get('mirrors_segment') -%}
        {%- if mirrored is not none and (mirrored is boolean or not (mirrored is integer or mirrored is string and mirrored | trim)) -%}
            {{ flagsmith_warehouse.refuse_rule(called, 'mirrors_segment', 'is ' ~ tojson(mirrored, mirrored), "Write the segment's id (a number) or its name.") }}
        {%- endif -%}
        {%- if called in checked | map(attribute='key') -%}
            {{ flagsmith_warehouse.refuse_rule(called, 'key', 'is declared twice', 'Give each cohort a key of its own.') }}
        {%- endif -%}
        {%- do checked.append({
            'key': cohort['key'], 'name': cohort.get('name') or cohort['key'], 'description': cohort.get('description') or '',
            'environment': cohort.get('environment'), 'rules': cohort['rules'], 'mirrors_segment': mirrored,
        }) -%}
    {%- endfor -%}
    {{ return(checked) }}
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
