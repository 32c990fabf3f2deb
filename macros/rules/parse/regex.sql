{#- Translates a Python regular expression, as Flagsmith's REGEX uses it (re.match: it must match from the start), to the
    dialect of RE2, which DuckDB has. The two agree on which texts match. Otherwise the expression is refused with the reason:
    RE2 lacks backreferences, lookarounds, word boundaries beyond ASCII and possessive quantifiers, and Python refuses some
    expressions. These differences are translated: \d, \w and \s cover all of Unicode; $ also matches before a last line
    break; {,3} is {0,3}; [[:alpha:]] is a set of characters; (?i)i matches the Turkish letters.
    Returns the expression, anchored at the start, to be searched for. -#}
{% macro compile_regex(pattern, cohort, where) %}
    {%- set tokens = modules.re.findall(
        '(?s)(\\\\x[0-9a-fA-F]{2}|\\\\u[0-9a-fA-F]{4}|\\\\U[0-9a-fA-F]{8}|\\\\.|\\[\\^?\\]?(?:\\\\.|[^\\]\\\\])*\\]'
        ~ '|\\(\\?[a-z]+\\)|\\(\\?:|\\(\\?.?|\\{(?:[0-9]+(?:,[0-9]*)?|,[0-9]*)\\}[?+]?|[*+?][?+]?|.)', pattern) -%}
    {%- set flags = tokens[0] if tokens and tokens[0] in ['(?i)', '(?s)', '(?is)', '(?si)'] else '' -%}
    {%- set refused = {'cohort': cohort, 'where': where ~ '.value', 'pattern': pattern, 'flags': flags} -%}
    {%- set compiled = [] -%}
    {#- One entry per open group: its size once repetitions are expanded. `atom`: the size of the part that a quantifier here
        would repeat; 0 if there is none. -#}
    {%- set sizes = [0] -%}
    {%- set state = {'atom': 0} -%}
    {%- for token in tokens[1 if flags else 0:] -%}
        {%- if token in ['(', '(?:'] -%}
            {%- do compiled.append('(?:') -%}
            {%- do sizes.append(0) -%}
            {%- do state.update({'atom': 0}) -%}
        {%- elif token == ')' -%}
            {%- if sizes | length == 1 -%}
                {{ flagsmith_warehouse.refuse_regex(refused, 'closes a group that is not open', 'Balance the parentheses.') }}
                {{ return('^') }}
            {%- endif -%}
            {%- do compiled.append(')') -%}
            {%- do state.update({'atom': [sizes.pop(), 1] | max}) -%}
            {%- do sizes.append(sizes.pop() + state.atom) -%}
        {%- elif token == '|' -%}
            {%- do compiled.append('|') -%}
            {%- do state.update({'atom': 0}) -%}
        {%- elif token in ['^', '\\A'] -%}
            {%- do compiled.append('^') -%}
            {%- do state.update({'atom': 0}) -%}
        {%- elif token == '\\Z' -%}
            {%- do compiled.append('$') -%}
            {%- do state.update({'atom': 0}) -%}
        {%- elif token == '$' -%}
            {%- if not flagsmith_warehouse.is_last_in_regex(tokens[loop.index + (1 if flags else 0):]) -%}
                {{ flagsmith_warehouse.refuse_regex(refused, 'has something after a `$`', 'End the expression, or the alternative, with it.') }}
            {%- endif -%}
            {%- do compiled.append('\\n?$') -%}
            {%- do state.update({'atom': 0}) -%}
        {%- elif modules.re.fullmatch('[*+?][?+]?|\\{(?:[0-9]+(?:,[0-9]*)?|,[0-9]*)\\}[?+]?', token) -%}
            {%- set quantifier = flagsmith_warehouse.compile_quantifier(token, state.atom, refused) -%}
            {%- do compiled.append(quantifier.text) -%}
            {%- do sizes.append(sizes.pop() + (quantifier.times - 1) * state.atom) -%}
            {%- do state.update({'atom': 0}) -%}
        {%- else -%}
            {%- do state.update({'atom': 3 if modules.re.search('\\\\[wW]', token) else 1}) -%}
            {%- do sizes.append(sizes.pop() + state.atom) -%}
            {%- do compiled.append(flagsmith_warehouse.compile_character(token, refused)) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if sizes | length > 1 -%}
        {{ flagsmith_warehouse.refuse_regex(refused, 'leaves a group open', 'Balance the parentheses.') }}
    {%- elif sizes[0] > 1000 -%}
        {{ flagsmith_warehouse.refuse_regex(refused, 'is too large for the engine once its repetitions are unfolded',
            'Repeat less, or replace a {n,m} by * or +.') }}
    {%- endif -%}
    {#- If only empty groups are left, every text matches. In DuckDB 2.0, `^(?:)` would only match the empty text. -#}
    {%- set expression = compiled | join if modules.re.search('[^()?:|^]', compiled | join) else '' -%}
    {{ return('^(?:' ~ expression ~ ')' if expression else '^') }}
{% endmacro %}


{#- A quantifier, and how many copies it expands to. -#}
{% macro compile_quantifier(token, atom, refused) %}
    {%- if not atom -%}
        {{ flagsmith_warehouse.refuse_regex(refused, 'has `' ~ token ~ '` with nothing to repeat', 'Write \\' ~ token[0] ~ ' for the character itself.') }}
    {%- elif token[1:].endswith('+') -%}
        {{ flagsmith_warehouse.refuse_regex(refused, 'has the possessive quantifier `' ~ token ~ '`', 'Leave out its last +.') }}
    {%- elif not token.startswith('{') -%}
        {{ return({'text': token, 'times': 1}) }}
    {%- endif -%}
    {%- set bounds = token[1:].split('}')[0].split(',') -%}
    {%- set least = (bounds[0] or '0') | int -%}
    {%- set most = bounds[-1] | int if bounds[-1] else none -%}
    {%- if most is not none and most < least -%}
        {{ flagsmith_warehouse.refuse_regex(refused, 'has `' ~ token ~ '`, whose bounds are the wrong way round', 'Write the smaller one first.') }}
    {%- endif -%}
    {%- set text = '{' ~ least ~ '}' if most == least else '{' ~ least ~ ',' ~ ('' if most is none else most) ~ '}' -%}
    {{ return({'text': text ~ ('?' if token.endswith('?') else ''), 'times': [most or least + 1, 1] | max}) }}
{% endmacro %}


{#- True if only ends of groups and other alternatives follow. -#}
{% macro is_last_in_regex(tokens) %}
    {%- set state = {'last': true, 'skips': false, 'depth': 0} -%}
    {%- for token in tokens -%}
        {%- if state.skips and token.startswith('(') -%}
            {%- do state.update({'depth': state.depth + 1}) -%}
        {%- elif state.skips and token == ')' and state.depth -%}
            {%- do state.update({'depth': state.depth - 1}) -%}
        {%- elif token == ')' -%}
            {%- do state.update({'skips': false}) -%}
        {%- elif token == '|' -%}
            {%- do state.update({'skips': true}) -%}
        {%- elif not state.skips -%}
            {%- do state.update({'last': false}) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(state.last) }}
{% endmacro %}


{#- Refuses a regular expression that we cannot translate, or that Python refuses. -#}
{% macro refuse_regex(refused, what, remedy) %}
    {{ flagsmith_warehouse.refuse_rule(refused.cohort, refused.where, '(' ~ tojson(refused.pattern) ~ ') ' ~ what, remedy) }}
{% endmacro %}
