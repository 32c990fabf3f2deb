{#- One condition. Environment documents write `property_`, everything else `property`. A number or boolean becomes
    text as in Flagsmith's own API (Python's str). For IN, a list stays a list. -#}
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
