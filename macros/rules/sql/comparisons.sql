{#- EQUAL, NOT_EQUAL and the four orderings: one branch per type that the value can have. -#}
{% macro comparison_test(condition) %}
    {%- set sign = {
        'EQUAL': '=', 'NOT_EQUAL': '<>', 'GREATER_THAN': '>', 'GREATER_THAN_INCLUSIVE': '>=', 'LESS_THAN': '<',
        'LESS_THAN_INCLUSIVE': '<=',
    }[condition.operator] -%}
    {%- set text = condition.value | string -%}
    {%- set whole = flagsmith_warehouse.python_int(condition.value) -%}
    {%- set number = flagsmith_warehouse.python_float(condition.value) -%}
    {%- set is_exact = whole is not none and -9007199254740992 < whole < 9007199254740992 -%}
    {%- set branches = [] -%}
    {%- set reads = {'version': false} -%}
    {#- In the warehouse's engine a trait with the float `nan` is greater than every number; in Python it is not. -#}
    {%- set beyond = " and value_number <> cast('nan' as double)" if sign in ['>', '>='] else '' -%}
    {%- if is_exact -%}
        {#- This works for integers and floats. An integer trait beyond 2^53 is rounded, but never across `whole`. -#}
        {%- do branches.append('value_number ' ~ sign ~ ' ' ~ whole ~ beyond) -%}
    {%- elif number is not none and number == number -%}
        {%- do branches.append('value_float ' ~ sign ~ ' ' ~ flagsmith_warehouse.double_literal(number) ~ beyond) -%}
    {%- elif number is not none and sign == '<>' -%}
        {#- No value is equal to the float `nan`, less than it or greater than it. -#}
        {%- do branches.append('value_float is not null') -%}
    {%- endif -%}
    {%- if whole is not none and not is_exact -%}
        {%- do branches.append("value_kind = 'integer' and " ~ flagsmith_warehouse.integer_comparison(sign, whole)) -%}
    {%- endif -%}
    {%- if text.endswith(':semver') -%}
        {%- if flagsmith_warehouse.parse_version(text[:-7]) is not none -%}
            {%- do reads.update({'version': true}) -%}
            {%- do branches.append('value_string is not null and ' ~ flagsmith_warehouse.version_comparison(sign, text[:-7])) -%}
        {%- endif -%}
    {%- elif sign != '=' or not modules.re.fullmatch('-?[0-9]+([.][0-9]+)?', text) -%}
        {#- A string that looks like a number has become a number, so such a text equals no value_string. -#}
        {%- do branches.append('value_string ' ~ sign ~ ' ' ~ text_literal(text)) -%}
    {%- endif -%}
    {%- do branches.append('value_boolean ' ~ sign ~ ' ' ~ (0 if condition.value in ['False', 'false'] else 1)) -%}
    {{ return(flagsmith_warehouse.where_test('(' ~ branches | join(') or (') ~ ')', reads_version=reads.version)) }}
{% endmacro %}


{#- Compares an integer value with a whole number that does not fit a double: by sign, number of digits and digits. This is exact
    at any size. -#}
{% macro integer_comparison(sign, whole) %}
    {%- set text = text_literal(whole | string) -%}
    {%- if sign in ['=', '<>'] -%}
        {{ return('value_text ' ~ sign ~ ' ' ~ text) }}
    {%- endif -%}
    {%- set negative = "value_text like '-%'" -%}
    {%- set length = length_of('value_text') -%}
    {%- set digits = whole | string | length -%}
    {%- set further = '(' ~ length ~ ' > ' ~ digits ~ ' or ' ~ length ~ ' = ' ~ digits ~ ' and value_text > ' ~ text ~ ')' -%}
    {%- set equal = 'value_text = ' ~ text -%}
    {%- set beyond = '(' ~ ('' if whole < 0 else 'not ') ~ negative ~ ' and ' ~ further ~ ')' -%}
    {%- set greater = '(not ' ~ beyond ~ ' and not ' ~ equal ~ ')' if whole < 0 else beyond -%}
    {{ return({
        '>': greater,
        '>=': '(' ~ greater ~ ' or ' ~ equal ~ ')',
        '<': '(not ' ~ greater ~ ' and not ' ~ equal ~ ')',
        '<=': '(not ' ~ greater ~ ')',
    }[sign]) }}
{% endmacro %}
