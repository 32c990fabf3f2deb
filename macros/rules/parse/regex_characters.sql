{#- The RE2 expression for a token that matches one character: a letter, an escape, a class in brackets. -#}
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


{#- A class in brackets, with every character as a number, so that RE2 cannot interpret it differently from Python. -#}
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
    {#- `from`: the code point at which a `-` would begin a range. `open`: a range has begun and needs its end. -#}
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


{#- The code point, in hexadecimal, of the character that a token stands for. -#}
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


{#- The characters that `(?i)` adds to a range of code points: ASCII letters in the other case, and the few letters beyond
    ASCII that Python treats as the same. RE2 has its own (?i), but it treats i and \w differently. -#}
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


{#- The characters of \d, \w and \s: those of Unicode, as in Python. -#}
{% macro regex_classes() %}
    {{ return({'d': '\\p{Nd}', 'w': '\\p{L}\\p{N}_', 's': '\\t\\n\\x{b}\\f\\r \\x{1c}-\\x{1f}\\x{85}\\p{Z}'}) }}
{% endmacro %}
