{#- The test of a condition on one value that is set: {holds, sql, reads_version, split_by}.
    holds: `always`, `never`, or `where` the predicate `sql` is true. Null counts as false.
    reads_version: whether the predicate reads the parts of a version; split_by: the segment id whose hash it reads, or none.
    As in Flagsmith's engine, the condition's value is converted to the type of the trait's value: '1' is true for a boolean,
    1 for an integer and '1' for a text. If it cannot be converted, the condition does not hold, not even NOT_EQUAL.
    The predicate reads the columns of steps_to_value_conditions. -#}
{% macro condition_test(condition) %}
    {%- set operator = condition.operator -%}
    {%- if operator in ['IS_SET', 'IS_NOT_SET'] -%}
        {{ return({'holds': 'always', 'reads_version': false, 'split_by': none}) }}
    {%- elif operator == 'IN' -%}
        {{ return(flagsmith_warehouse.in_test(condition)) }}
    {%- elif operator == 'CONTAINS' -%}
        {{ return(flagsmith_warehouse.contains_test(condition)) }}
    {%- elif operator == 'NOT_CONTAINS' -%}
        {{ return(flagsmith_warehouse.where_test('not ' ~ text_contains('value_string', text_literal(condition.value | string)))) }}
    {%- elif operator == 'REGEX' -%}
        {{ return(flagsmith_warehouse.where_test(regex_matches(
            'value_text', flagsmith_warehouse.compile_regex(condition.value | string, condition.cohort, condition.where)))) }}
    {%- elif operator == 'MODULO' -%}
        {{ return(flagsmith_warehouse.modulo_test(condition)) }}
    {%- elif operator == 'PERCENTAGE_SPLIT' -%}
        {{ return(flagsmith_warehouse.split_test(condition)) }}
    {%- endif -%}
    {{ return(flagsmith_warehouse.comparison_test(condition)) }}
{% endmacro %}


{#- The test that holds if a predicate is true. -#}
{% macro where_test(sql, reads_version=false, split_by=none) %}
    {{ return({'holds': 'where', 'sql': sql, 'reads_version': reads_version, 'split_by': split_by}) }}
{% endmacro %}


{#- CONTAINS holds only for texts. With `:semver`, Flagsmith's engine looks for the text among the parts of the version; only
    prerelease and build are texts. -#}
{% macro contains_test(condition) %}
    {%- set text = condition.value | string -%}
    {%- if not text.endswith(':semver') -%}
        {{ return(flagsmith_warehouse.where_test(text_contains('value_string', text_literal(text)))) }}
    {%- elif text == ':semver' -%}
        {%- do flagsmith_warehouse.warn_rule(condition, 'looks for an empty part of a version') -%}
        {{ return({'holds': 'never'}) }}
    {%- endif -%}
    {%- set part = text_literal(text[:-7]) -%}
    {%- set sql = "value_string is not null and (value_prerelease = " ~ part ~ ' or value_build = ' ~ part ~ ')' -%}
    {{ return(flagsmith_warehouse.where_test(sql, reads_version=true)) }}
{% endmacro %}


{#- IN: a list, a JSON array in a text, or a text split at its commas (blanks belong to the values). Only texts and integers
    can be in it, because Flagsmith's engine compares neither floats nor booleans with the texts of the list. -#}
{% macro in_test(condition) %}
    {%- set texts = condition.value -%}
    {%- if texts is string -%}
        {%- set array = fromjson(texts, none) if texts.startswith('[') else none -%}
        {%- set texts = texts.split(',') if array is none else array | map('string') | list -%}
    {%- endif -%}
    {%- if not texts -%}
        {%- do flagsmith_warehouse.warn_rule(condition, 'is an IN of an empty list') -%}
        {{ return({'holds': 'never'}) }}
    {%- endif -%}
    {%- set literals = [] -%}
    {%- for text in texts | unique(true) -%}
        {%- do literals.append(text_literal(text)) -%}
    {%- endfor -%}
    {{ return(flagsmith_warehouse.where_test("value_kind in ('string', 'integer') and value_text in (" ~ literals | join(', ') ~ ')')) }}
{% endmacro %}


{#- MODULO `divisor|remainder`, with Python's remainder, which has the sign of the divisor. Booleans count as 1 and 0. -#}
{% macro modulo_test(condition) %}
    {%- set parts = (condition.value or '').split('|') -%}
    {%- set divisor = flagsmith_warehouse.python_float(parts[0]) -%}
    {%- set remainder = flagsmith_warehouse.python_float(parts[1]) if parts | length == 2 else none -%}
    {%- if divisor is none or remainder is none or divisor != divisor or remainder != remainder -%}
        {%- do flagsmith_warehouse.warn_rule(condition, 'has the value ' ~ tojson(condition.value) ~ ' instead of `divisor|remainder`') -%}
        {{ return({'holds': 'never'}) }}
    {%- endif -%}
    {%- if divisor == 0 -%}
        {{ flagsmith_warehouse.refuse_rule(condition.cohort, condition.where ~ '.value', "divides by zero, on which Flagsmith's engine fails",
            'Write another divisor before the `|`.') }}
    {%- endif -%}
    {%- set rest = float_remainder('coalesce(value_number, value_boolean)', flagsmith_warehouse.double_literal(divisor)) -%}
    {{ return(flagsmith_warehouse.where_test(rest ~ ' = ' ~ flagsmith_warehouse.double_literal(remainder))) }}
{% endmacro %}
