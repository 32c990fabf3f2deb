{#- A regular expression of Python, as Flagsmith's REGEX uses it (re.match: it must match from the start), in the
    dialect of RE2, which DuckDB has. The two agree on which texts match, or the run stops here with the reason:
    what RE2 lacks (backreferences, lookarounds, word boundaries beyond ASCII, possessive quantifiers) and what Python
    refuses. Differences that are translated: \d, \w and \s mean Unicode's; $ also matches before a last line break;
    {,3} is {0,3}; [[:alpha:]] is a set of characters; (?i)i matches the Turkish letters.
    Returns the expression, anchored at the start, to be searched for. -#}
{% macro compile_regex(pattern, cohort, where) %}
    {%- set tokens = modules.re.findall(
        '(?s)(\\\\x[0-9a-fA-F]{2}|\\\\u[0-9a-fA-F]{4}|\\\\U[0-9a-fA-F]{8}|\\\\.|\\[\\^?\\]?(?:\\\\.|[^\\]\\\\])*\\]'
        ~ '|\\(\\?[a-z]+\\)|\\(\\?:|\\(\\?.?|\\{(?:[0-9]+(?:,[0-9]*)?|,[0-9]*)\\}[?+]?|[*+?][?+]?|.)', pattern) -%}
    {%- set flags = tokens[0] if tokens and tokens[0] in ['(?i)', '(?s)', '(?is)', '(?si)'] else '' -%}
    {%- set refused = {'cohort': cohort, 'where': where ~ '.value', 'pattern': pattern, 'flags': flags} -%}
    {%- set compiled = [] -%}
    {#- One entry per open group: the size it unfolds to. `atom`: size of what a quantifier would repeat; 0 for nothing. -#}
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
    {#- Where nothing but groups of nothing is left, everything matches; DuckDB 2.0 takes `^(?:)` for the empty text alone. -#}
    {%- set expression = compiled | join if modules.re.search('[^()?:|^]', compiled | join) else '' -%}
    {{ return('^(?:' ~ expression ~ ')' if expression else '^') }}
{% endmacro %}


{#- A quantifier, and how many times it unfolds what it repeats. -#}
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


{#- True where nothing can follow but the ends of groups and other alternatives. -#}
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


{#- What one token matches that stands for one character: a letter, an escape, a class in brackets. -#}
{% macro compile_character(token, refused) %}
    {%- set classes = flagsmith_warehouse.regex_classes() -%}
    {%- if token == '.' -%}
        {{ return('(?s:.)' if 's' in refused.flags else '.') }}
    {%- elif token.startswith('[') and token | length > 1 -%}
        {{ return(flagsmith_warehouse.compile_class(token, refused)) }}
    {%- elif token[:1] == '\\' and token[1:] in classes -%}
        {{ return('[' ~ classes[token[1:]] ~ ']') }}
    {%- elif token[:1] == '\\' and token[1:] | lower in classes -%}
        {{ return('[^' ~ classes[token[1:] | lower] ~ ']') }}
    {%- elif token in ['\\b', '\\B'] -%}
        {{ flagsmith_warehouse.refuse_regex(refused, 'has the word boundary `' ~ token ~ '`, which the engine knows for ASCII alone',
            'Say which characters may stand there: (?:[^a-z]|$).') }}
    {%- elif token.startswith('(?') -%}
        {{ flagsmith_warehouse.refuse_regex(refused, 'has `' ~ token ~ '` (a lookaround, a named group or a flag), which cannot be compiled',
            'Only (...), (?:...) and a leading (?i), (?s) or (?is) can.') }}
    {%- elif token == '[' -%}
        {{ flagsmith_warehouse.refuse_regex(refused, 'leaves a [ open', 'Close it, or write \\[ for the character itself.') }}
    {%- endif -%}
    {%- set code = flagsmith_warehouse.regex_code_point(token, refused) -%}
    {%- set folded = flagsmith_warehouse.regex_other_cases(code, code, refused.flags) -%}
    {%- if folded -%}
        {{ return('[' ~ folded ~ ']') }}
    {%- endif -%}
    {{ return(token if modules.re.fullmatch('[A-Za-z0-9_@,:;=/ -]', token) else '\\x{' ~ code ~ '}') }}
{% endmacro %}


{#- A class in brackets, every character of it by its number, so that RE2 cannot read more into it than Python does. -#}
{% macro compile_class(token, refused) %}
    {%- if token in ['[\\s\\S]', '[\\S\\s]', '[\\w\\W]', '[\\W\\w]', '[\\d\\D]', '[\\D\\d]'] -%}
        {{ return('(?s:.)') }}
    {%- endif -%}
    {%- set classes = flagsmith_warehouse.regex_classes() -%}
    {%- set negated = token.startswith('[^') -%}
    {%- set items = modules.re.findall(
        '(?s)\\\\x[0-9a-fA-F]{2}|\\\\u[0-9a-fA-F]{4}|\\\\U[0-9a-fA-F]{8}|\\\\.|.', token[2 if negated else 1:-1]) -%}
    {%- set compiled = [] -%}
    {%- set folded = [] -%}
    {#- `from`: code point that a `-` would make a range of; `open`: a range waits for its end. -#}
    {%- set state = {'from': none, 'open': false} -%}
    {%- for item in items -%}
        {%- if item == '-' and not state.open and compiled and not loop.last and state.from != 'ended' -%}
            {%- do state.update({'open': true}) -%}
        {%- elif item[:1] == '\\' and item[1:] in classes and not state.open -%}
            {%- do compiled.append(classes[item[1:]]) -%}
            {%- do state.update({'from': none}) -%}
        {%- elif item in ['\\D', '\\W', '\\S'] -%}
            {{ flagsmith_warehouse.refuse_regex(refused, 'has `' ~ item ~ '` in brackets, which cannot be compiled',
                'Write the class by what it holds, or [^...] by what it does not.') }}
        {%- else -%}
            {%- set code = flagsmith_warehouse.regex_code_point('\\x08' if item == '\\b' else item, refused) -%}
            {%- if state.open and (state.from is none or code | int(0, 16) < state.from | int(0, 16)) -%}
                {{ flagsmith_warehouse.refuse_regex(refused, 'has a range in brackets that ends before it begins, or begins with a class',
                    'Turn it round, or write \\- for the character itself.') }}
            {%- endif -%}
            {%- do compiled.append(('-' if state.open else '') ~ '\\x{' ~ code ~ '}') -%}
            {%- do folded.append(flagsmith_warehouse.regex_other_cases(state.from if state.open else code, code, refused.flags)) -%}
            {%- do state.update({'from': 'ended' if state.open else code, 'open': false}) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return('[' ~ ('^' if negated else '') ~ compiled | join ~ folded | join ~ ']') }}
{% endmacro %}


{#- Number, in hexadecimal, of the one character that a token stands for. -#}
{% macro regex_code_point(token, refused) %}
    {%- set named = {'\\n': 'a', '\\r': 'd', '\\t': '9', '\\f': 'c', '\\v': 'b', '\\a': '7'} -%}
    {%- if token in named -%}
        {{ return(named[token]) }}
    {%- elif token[:2] in ['\\x', '\\u', '\\U'] and token | length > 2 -%}
        {%- set code = '%x' | format(token[2:] | int(0, 16)) -%}
    {%- elif token[:1] == '\\' and (token == '\\' or modules.re.fullmatch('[A-Za-z0-9]', token[1:])) -%}
        {{ flagsmith_warehouse.refuse_regex(refused, 'has `' ~ token ~ '`: a backreference, an octal number or no escape at all',
            'Repeat what it refers to, write a character as \\x41, a backslash as \\\\.') }}
        {{ return('0') }}
    {%- else -%}
        {%- set code = '%x' | format(token[-1:].encode('utf-32-be').hex() | int(0, 16)) -%}
    {%- endif -%}
    {%- if code | int(0, 16) > 1114111 or 55296 <= code | int(0, 16) <= 57343 -%}
        {{ flagsmith_warehouse.refuse_regex(refused, 'has `' ~ token ~ '`, which is no character', 'Leave it out: no text can hold it.') }}
    {%- elif 'i' in refused.flags and code | int(0, 16) > 127 -%}
        {{ flagsmith_warehouse.refuse_regex(refused, 'ignores the case of `' ~ token ~ '`, a letter beyond ASCII', 'Leave out (?i) and write both cases: [Éé].') }}
    {%- endif -%}
    {{ return(code) }}
{% endmacro %}


{#- What `(?i)` adds to the characters from one code point to another: the letters of ASCII in both cases, and the few
    letters beyond it that Python takes for the same. RE2 has an (?i) of its own, with other ideas of i and \w. -#}
{% macro regex_other_cases(first, last, flags) %}
    {%- set added = [] -%}
    {%- for letter in 'abcdefghijklmnopqrstuvwxyz' if 'i' in flags -%}
        {%- set small = 97 + loop.index0 -%}
        {%- if first | int(0, 16) <= small <= last | int(0, 16) or first | int(0, 16) <= small - 32 <= last | int(0, 16) -%}
            {%- do added.append(letter ~ letter | upper ~ {'i': '\\x{130}\\x{131}', 'k': '\\x{212a}', 's': '\\x{17f}'}.get(letter, '')) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(added | join) }}
{% endmacro %}


{#- What \d, \w and \s hold: Unicode's, as in Python. -#}
{% macro regex_classes() %}
    {{ return({'d': '\\p{Nd}', 'w': '\\p{L}\\p{N}_', 's': '\\t\\n\\x{b}\\f\\r \\x{1c}-\\x{1f}\\x{85}\\p{Z}'}) }}
{% endmacro %}


{#- Stops the run over a regular expression that cannot be compiled, or that Python would not read either. -#}
{% macro refuse_regex(refused, what, remedy) %}
    {{ flagsmith_warehouse.refuse_rule(refused.cohort, refused.where, '(' ~ tojson(refused.pattern) ~ ') ' ~ what, remedy) }}
{% endmacro %}
