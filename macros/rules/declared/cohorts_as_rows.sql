{#- Select: one row per declared cohort: cohort_key, name, description, environment, mirrors_segment_id or
    mirrors_segment_name, rule_text. If none is declared, the columns without rows. -#}
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
                {%- do these.append(
                    flagsmith_warehouse.rules_in_words([part]) if 'type' in part else flagsmith_warehouse.condition_in_words(part)) -%}
            {%- endfor -%}
            {%- set joined = these | join(' and ' if rule.type == 'ALL' else ' or ') -%}
            {%- do words.append('none of (' ~ joined ~ ')' if rule.type == 'NONE' else
                '(' ~ joined ~ ')' if these | length > 1 else joined) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(words | join(' and ')) }}
{% endmacro %}


{#- A condition in words: `country EQUAL "FR"`. -#}
{% macro condition_in_words(condition) %}
    {%- set value = condition.get('value') -%}
    {%- set words = (condition.get('property', condition.get('property_')) or 'identity') ~ ' ' ~ condition.operator -%}
    {%- if condition.operator not in ['IS_SET', 'IS_NOT_SET'] -%}
        {%- set words = words ~ ' ' ~ (value if flagsmith_warehouse.is_list(value) else '"' ~ value ~ '"') -%}
    {%- endif -%}
    {{ return(words) }}
{% endmacro %}
