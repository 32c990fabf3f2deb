{#- One condition as an SQL predicate on one value that is set. `value` is what its columns' names begin with:
    _kind: boolean, integer, float or string, after Flagsmith's reading of text that looks like a number;
    _text: the value as Python's str writes it; _string: the same, null unless the kind is string;
    _number: an integer or a float as a double, _float: a float alone, _boolean: 1 or 0, each null for other kinds;
    _major, _minor, _patch, _prerelease, _build: the parts of a text that is a version (version_columns);
    _split_<...>: the hash of a PERCENTAGE_SPLIT (split_column).
    The condition's value takes the type of the trait's, as in Flagsmith's engine: the same '1' is true for a boolean,
    1 for an integer, '1' for a text, and where it cannot take that type the condition does not hold (NOT_EQUAL neither).
    Null counts as false. Returns the text `false` where no value can satisfy it. -#}
{% macro condition_predicate(condition, value) %}
    {%- set operator = condition.operator -%}
    {%- if operator in ['IS_SET', 'IS_NOT_SET'] -%}
        {{ return('true') }}
    {%- elif operator == 'IN' -%}
        {{ return(flagsmith_warehouse.in_predicate(condition, value)) }}
    {%- elif operator == 'CONTAINS' -%}
        {{ return(flagsmith_warehouse.contains_predicate(condition, value)) }}
    {%- elif operator == 'NOT_CONTAINS' -%}
        {{ return('not ' ~ text_contains(value ~ '_string', text_literal(condition.value | string))) }}
    {%- elif operator == 'REGEX' -%}
        {{ return(regex_matches(value ~ '_text', flagsmith_warehouse.compile_regex(condition.value | string, condition.cohort, condition.where))) }}
    {%- elif operator == 'MODULO' -%}
        {{ return(flagsmith_warehouse.modulo_predicate(condition, value)) }}
    {%- elif operator == 'PERCENTAGE_SPLIT' -%}
        {{ return(flagsmith_warehouse.split_predicate(condition, value)) }}
    {%- endif -%}
    {{ return(flagsmith_warehouse.comparison_predicate(condition, value)) }}
{% endmacro %}


{#- EQUAL, NOT_EQUAL and the four orderings: one branch per type that the value can have. -#}
{% macro comparison_predicate(condition, value) %}
    {%- set sign = {
        'EQUAL': '=', 'NOT_EQUAL': '<>', 'GREATER_THAN': '>', 'GREATER_THAN_INCLUSIVE': '>=', 'LESS_THAN': '<',
        'LESS_THAN_INCLUSIVE': '<=',
    }[condition.operator] -%}
    {%- set text = condition.value | string -%}
    {%- set whole = flagsmith_warehouse.python_int(condition.value) -%}
    {%- set number = flagsmith_warehouse.python_float(condition.value) -%}
    {%- set is_exact = whole is not none and -9007199254740992 < whole < 9007199254740992 -%}
    {%- set branches = [] -%}
    {#- A trait that is the float `nan` is more than every number to the engine of the warehouse, and to Python is not. -#}
    {%- set beyond = ' and ' ~ value ~ "_number <> cast('nan' as double)" if sign in ['>', '>='] else '' -%}
    {%- if is_exact -%}
        {#- Integers and floats alike: beyond 2^53 an integer rounds to a double, but never across the number. -#}
        {%- do branches.append(value ~ '_number ' ~ sign ~ ' ' ~ whole ~ beyond) -%}
    {%- elif number is not none and number == number -%}
        {%- do branches.append(value ~ '_float ' ~ sign ~ ' ' ~ flagsmith_warehouse.double_literal(number) ~ beyond) -%}
    {%- elif number is not none and sign == '<>' -%}
        {#- Nothing equals the float `nan`, nor is it less or more. -#}
        {%- do branches.append(value ~ '_float is not null') -%}
    {%- endif -%}
    {%- if whole is not none and not is_exact -%}
        {%- do branches.append(value ~ "_kind = 'integer' and " ~ flagsmith_warehouse.integer_comparison(value, sign, whole)) -%}
    {%- endif -%}
    {%- if text.endswith(':semver') -%}
        {%- if flagsmith_warehouse.parse_version(text[:-7]) is not none -%}
            {%- do branches.append(value ~ '_string is not null and ' ~ flagsmith_warehouse.version_comparison(value, sign, text[:-7])) -%}
        {%- endif -%}
    {%- elif sign != '=' or not modules.re.fullmatch('-?[0-9]+([.][0-9]+)?', text) -%}
        {#- No value that is left a string looks like a number. -#}
        {%- do branches.append(value ~ '_string ' ~ sign ~ ' ' ~ text_literal(text)) -%}
    {%- endif -%}
    {%- do branches.append(value ~ '_boolean ' ~ sign ~ ' ' ~ (0 if condition.value in ['False', 'false'] else 1)) -%}
    {{ return('(' ~ branches | join(') or (') ~ ')') }}
{% endmacro %}


{#- An integer value against a whole number that no double holds: by sign, digits and their count, exact at any size. -#}
{% macro integer_comparison(value, sign, whole) %}
    {%- set text = text_literal(whole | string) -%}
    {%- if sign in ['=', '<>'] -%}
        {{ return(value ~ '_text' ~ ' ' ~ sign ~ ' ' ~ text) }}
    {%- endif -%}
    {%- set negative = value ~ '_text' ~ " like '-%'" -%}
    {%- set length = length_of(value ~ '_text') -%}
    {%- set digits = whole | string | length -%}
    {%- set further = '(' ~ length ~ ' > ' ~ digits ~ ' or ' ~ length ~ ' = ' ~ digits ~ ' and ' ~ value ~ '_text' ~ ' > ' ~ text ~ ')' -%}
    {%- set equal = value ~ '_text' ~ ' = ' ~ text -%}
    {%- set beyond = '(' ~ ('' if whole < 0 else 'not ') ~ negative ~ ' and ' ~ further ~ ')' -%}
    {%- set greater = '(not ' ~ beyond ~ ' and not ' ~ equal ~ ')' if whole < 0 else beyond -%}
    {{ return({
        '>': greater,
        '>=': '(' ~ greater ~ ' or ' ~ equal ~ ')',
        '<': '(not ' ~ greater ~ ' and not ' ~ equal ~ ')',
        '<=': '(not ' ~ greater ~ ')',
    }[sign]) }}
{% endmacro %}


{#- CONTAINS holds for texts alone. With `:semver` Flagsmith's engine looks the text up among the parts of the version:
    only prerelease and build are texts. -#}
{% macro contains_predicate(condition, value) %}
    {%- set text = condition.value | string -%}
    {%- if not text.endswith(':semver') -%}
        {{ return(text_contains(value ~ '_string', text_literal(text))) }}
    {%- elif text == ':semver' -%}
        {%- do flagsmith_warehouse.warn_rule(condition, 'looks for an empty part of a version') -%}
        {{ return('false') }}
    {%- endif -%}
    {%- set part = text_literal(text[:-7]) -%}
    {{ return(value ~ '_string is not null and (' ~ value ~ '_prerelease' ~ ' = ' ~ part ~ ' or '
        ~ value ~ '_build' ~ ' = ' ~ part ~ ')') }}
{% endmacro %}


{#- IN: a list, a JSON array in a text, or a text cut at its commas (blanks belong to the values). Texts and integers
    alone can be in it: Flagsmith's engine compares neither floats nor booleans with the texts of the list. -#}
{% macro in_predicate(condition, value) %}
    {%- set texts = condition.value -%}
    {%- if texts is string -%}
        {%- set array = fromjson(texts, none) if texts.startswith('[') else none -%}
        {%- set texts = texts.split(',') if array is none else array | map('string') | list -%}
    {%- endif -%}
    {%- if not texts -%}
        {%- do flagsmith_warehouse.warn_rule(condition, 'is an IN of an empty list') -%}
        {{ return('false') }}
    {%- endif -%}
    {%- set literals = [] -%}
    {%- for text in texts | unique(true) -%}
        {%- do literals.append(text_literal(text)) -%}
    {%- endfor -%}
    {{ return(value ~ "_kind in ('string', 'integer') and " ~ value ~ '_text' ~ ' in (' ~ literals | join(', ') ~ ')') }}
{% endmacro %}


{#- MODULO `divisor|remainder`, with Python's remainder: it has the divisor's sign. Booleans count as 1 and 0. -#}
{% macro modulo_predicate(condition, value) %}
    {%- set parts = (condition.value or '').split('|') -%}
    {%- set divisor = flagsmith_warehouse.python_float(parts[0]) -%}
    {%- set remainder = flagsmith_warehouse.python_float(parts[1]) if parts | length == 2 else none -%}
    {%- if divisor is none or remainder is none or divisor != divisor or remainder != remainder -%}
        {%- do flagsmith_warehouse.warn_rule(condition, 'has the value ' ~ tojson(condition.value) ~ ' instead of `divisor|remainder`') -%}
        {{ return('false') }}
    {%- endif -%}
    {%- if divisor == 0 -%}
        {{ flagsmith_warehouse.refuse_rule(condition.cohort, condition.where ~ '.value', "divides by zero, on which Flagsmith's engine fails",
            'Write another divisor before the `|`.') }}
    {%- endif -%}
    {%- set rest = float_remainder('coalesce(' ~ value ~ '_number, ' ~ value ~ '_boolean)', flagsmith_warehouse.double_literal(divisor)) -%}
    {{ return(rest ~ ' = ' ~ flagsmith_warehouse.double_literal(remainder)) }}
{% endmacro %}


{#- PERCENTAGE_SPLIT of a value as Flagsmith hashes: split_number is at most last_inside. -#}
{% macro split_predicate(condition, value) %}
    {%- set last = flagsmith_warehouse.last_inside(condition) -%}
    {%- if last < 0 or last == 9998 -%}
        {{ return('false' if last < 0 else 'true') }}
    {%- endif -%}
    {%- set hash = value ~ '_split_' ~ local_md5(condition.segment_id | string)[:8] -%}
    {%- set text = text_literal(condition.segment_id ~ ',') ~ ' || ' ~ value ~ '_text' -%}
    {{ return(flagsmith_warehouse.split_number(hash, text) ~ ' <= ' ~ last) }}
{% endmacro %}


{#- The greatest number out of 0 to 9998 that is still inside a PERCENTAGE_SPLIT, -1 for none. Flagsmith compares
    percentages of 9998; the whole numbers these come from are compared here, so that no engine's arithmetic matters. -#}
{% macro last_inside(condition) %}
    {%- set percentage = flagsmith_warehouse.python_float(condition.value) -%}
    {%- if percentage is none or not percentage >= 0 -%}
        {%- do flagsmith_warehouse.warn_rule(condition, 'has the value ' ~ tojson(condition.value) ~ ' instead of a percentage') -%}
        {{ return(-1) }}
    {%- elif percentage >= 100 -%}
        {{ return(9998) }}
    {%- endif -%}
    {%- set guess = (percentage * 9998 / 100) | int -%}
    {%- set inside = [] -%}
    {%- for number in range([guess - 2, 0] | max, guess + 3) if number / 9998 * 100 <= percentage -%}
        {%- do inside.append(number) -%}
    {%- endfor -%}
    {{ return(inside[-1]) }}
{% endmacro %}


{#- The number that Flagsmith draws for a text, `<segment id>,<key>`: hash, the 128 bits of its md5 modulo 9999; where
    that is 9998, that of the text repeated. -#}
{% macro split_number(hash, text) -%}
    {%- set twice = text ~ " || ',' || " ~ text -%}
    case
        when {{ hash }} = 9998
            then coalesce(nullif({{ md5_modulo(twice, 9999) }}, 9998), {{ md5_modulo(twice ~ " || ',' || " ~ text, 9999) }})
        else {{ hash }}
    end
{%- endmacro %}


{#- The column a PERCENTAGE_SPLIT asks for: computed once, and apart, since no engine can be relied on to see that an
    expression inside a condition is the same again (with DuckDB, 17 splits of 200,000 identities 8 s instead of 1 s). -#}
{% macro split_column(segment_id, value, text) -%}
    {{ md5_modulo(text_literal(segment_id ~ ',') ~ ' || ' ~ text, 9999) }} as {{ value }}_split_{{ local_md5(segment_id | string)[:8] }}
{%- endmacro %}


{#- What Python's int() reads of a text, which is more than digits (' 1_000 ', other scripts' digits); null for an error. -#}
{% macro python_int(text) %}
    {{ return(text | int if text is string and modules.re.fullmatch('\\s*[-+]?\\d(?:_?\\d)*\\s*', text) else none) }}
{% endmacro %}


{#- What Python's float() reads of a text (`inf`, `nan` and ' 1e3 ' too); null for an error. -#}
{% macro python_float(text) %}
    {{ return(text | float(none) if text is string else none) }}
{% endmacro %}


{#- A double, exactly: Python's shortest spelling reads back as the same number everywhere. -#}
{% macro double_literal(number) %}
    {{ return("cast('" ~ number ~ "' as double)") }}
{% endmacro %}
