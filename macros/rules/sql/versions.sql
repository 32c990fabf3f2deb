{#- The five parts of a semantic version as regular expression groups: major, minor, patch, prerelease, build.
    Like Flagsmith's semver library, it requires all three numbers, no leading zeros, and ASCII. -#}
{% macro version_pattern() %}
    {%- set identifier = '(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)' -%}
    {%- set number = '(0|[1-9][0-9]*)' -%}
    {{ return('^' ~ [number, number, number] | join('[.]') ~ '(?:-(' ~ identifier ~ '(?:[.]' ~ identifier
        ~ ')*))?(?:[+]([0-9a-zA-Z-]+(?:[.][0-9a-zA-Z-]+)*))?$') }}
{% endmacro %}


{#- The parts of a constant version; absent parts are empty. None if the text is not a version. -#}
{% macro parse_version(text) %}
    {%- set match = modules.re.fullmatch(flagsmith_warehouse.version_pattern(), text) -%}
    {{ return(match.groups('') if match else none) }}
{% endmacro %}


{#- The columns value_major to value_build of a text, computed once for all conditions on versions. Empty if the part is
    absent or the text is not a version. -#}
{% macro version_columns(text) -%}
    {%- for part in ['major', 'minor', 'patch', 'prerelease', 'build'] %}
        {{ regex_group(text, flagsmith_warehouse.version_pattern(), loop.index) }} as value_{{ part }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}


{#- Compares a text value with a version by semantic precedence: first the numbers, then the prerelease (a version without one
    is higher). The build does not count. For a text that is not a version, no comparison holds. -#}
{% macro version_comparison(sign, version) %}
    {%- set parts = flagsmith_warehouse.parse_version(version) -%}
    {%- set whens = [] -%}
    {%- for part in ['major', 'minor', 'patch'] -%}
        {%- set number = parts[loop.index0] -%}
        {%- do whens.append('when value_' ~ part ~ " <> '" ~ number ~ "' then "
            ~ flagsmith_warehouse.digits_sign('value_' ~ part, number)) -%}
    {%- endfor -%}
    {%- do whens.append("when value_prerelease = '" ~ parts[3] ~ "' then 0") -%}
    {%- if parts[3] == '' -%}
        {%- do whens.append('else -1') -%}
    {%- else -%}
        {%- do whens.append("when value_prerelease = '' then 1") -%}
        {%- for identifier in parts[3].split('.') -%}
            {%- set part = text_part('value_prerelease', '.', loop.index) -%}
            {%- do whens.append('when ' ~ part ~ " <> '" ~ identifier ~ "' then " ~ flagsmith_warehouse.identifier_sign(part, identifier)) -%}
        {%- endfor -%}
        {%- do whens.append('else 1') -%}
    {%- endif -%}
    {{ return("value_major <> '' and case " ~ whens | join(' ') ~ ' end ' ~ sign ~ ' 0') }}
{% endmacro %}


{#- -1 or 1: compares two numbers given as digits without leading zeros. This is exact at any length. -#}
{% macro digits_sign(text, digits) %}
    {%- set length = length_of(text) -%}
    {{ return('case when ' ~ length ~ ' < ' ~ digits | length ~ ' or ' ~ length ~ ' = ' ~ digits | length ~ ' and ' ~ text ~ " < '"
        ~ digits ~ "' then -1 else 1 end") }}
{% endmacro %}


{#- -1 or 1: compares two prerelease identifiers. A missing identifier comes first, then numbers, then texts. -#}
{% macro identifier_sign(text, identifier) %}
    {%- set is_number = regex_matches(text, '^[0-9]+$') -%}
    {%- if modules.re.fullmatch('[0-9]+', identifier) -%}
        {{ return('case when ' ~ text ~ " = '' then -1 when " ~ is_number ~ ' then ' ~ flagsmith_warehouse.digits_sign(text, identifier)
            ~ ' else 1 end') }}
    {%- endif -%}
    {{ return('case when ' ~ is_number ~ ' or ' ~ text ~ " < '" ~ identifier ~ "' then -1 else 1 end") }}
{% endmacro %}
