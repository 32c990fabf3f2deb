{#- CTEs that test conditions on values. The last one, `<name>_conditions`, has the columns `keys` and the bits of the
    conditions that hold.
    name: a CTE with the columns `keys`, value_type, given_text and given_number. picked_by: the column of it that decides
    which conditions are tested. conditions: {a text of that column: conditions of the plan}.
    The tests read these columns: value_kind (boolean, integer, float or string, after Flagsmith's reading of text);
    value_text, as Python's str writes the value; value_string, value_number (integers and floats), value_float and
    value_boolean (1 or 0), each null for other kinds; value_major to value_build; value_split_<segment id>. -#}
{% macro steps_to_value_conditions(name, keys, picked_by, conditions, column_count) -%}
{%- set asked = conditions.values() | sum(start=[]) -%}
{%- set of_versions = [] -%}
{%- for key, those in conditions.items() if those | selectattr('test.reads_version') | list -%}
    {%- do of_versions.append(text_literal(key)) -%}
{%- endfor -%}
{%- set split_segments = asked | map(attribute='test.split_by') | reject('none') | unique | list -%}
{{ name }}_kinds as (

    -- As in Flagsmith's engine, a text that looks like a whole or decimal number is a number.
    select
        *,
        {{ flagsmith_warehouse.engine_kind('value_type', 'given_text') }} as value_kind
    from {{ name }}

),

{{ name }}_readings as (

    -- Conditions compare a value as text, as a number or as a boolean.
    select
        {{ keys | join(',\n        ') }},
        {{ flagsmith_warehouse.readings_of_value('given_text', 'given_number') }}
        {%- if of_versions %},
        {{- flagsmith_warehouse.version_columns('case when ' ~ picked_by ~ ' in (' ~ of_versions | join(', ') ~ ") then given_text else '' end") }}
        {%- endif %}
    from {{ name }}_kinds

),
{%- if split_segments %}

{{ name }}_splits as (

    -- Flagsmith's hash of a value decides a percentage split. A separate column makes the engine compute it once. Inside
    -- the conditions, 17 splits of 200,000 identities took 8 s instead of 1 s.
    select
        *
        {%- for segment_id in split_segments %},
        {{ md5_modulo(flagsmith_warehouse.hashed_value(segment_id), 9999) }} as {{ flagsmith_warehouse.split_column(segment_id) }}
        {%- endfor %}
    from {{ name }}_readings

),
{%- endif %}

{{ name }}_conditions as (

    -- Each condition that a value satisfies sets one bit.
    select
        {{ keys | join(',\n        ') }}
        {%- for column in range(column_count) %},
        {{ flagsmith_warehouse.condition_bits(picked_by, conditions, column) }} as conditions_{{ column }}
        {%- endfor %}
    from {{ name }}_{{ 'splits' if split_segments else 'readings' }}

),
{%- endmacro %}


{#- The sum of the bits that a value sets in one column. -#}
{% macro condition_bits(picked_by, conditions, column) -%}
    {%- set picked = {} -%}
    {%- for key, those in conditions.items() if those | selectattr('column', 'eq', column) | list -%}
        {%- do picked.update({key: those | selectattr('column', 'eq', column) | list}) -%}
    {%- endfor -%}
    {%- if not picked -%}{{ return('cast(0 as bigint)') }}{%- endif -%}
    case {{ picked_by }}
        {%- for key, those in picked.items() %}
        when {{ text_literal(key) }} then
            {%- for condition in those %}
            -- {{ flagsmith_warehouse.comment_text(condition.words) }}
            {{ '+ ' if not loop.first -}}
            {%- if condition.test.holds == 'always' -%} {{ condition.bit }}
            {%- else -%} case when {{ condition.test.sql }} then {{ condition.bit }} else 0 end
            {%- endif %}
            {%- endfor %}
        {%- endfor %}
        else cast(0 as bigint)
    end
{%- endmacro %}


{#- A text that is safe after `--`: one line, no control characters, and short enough to read. -#}
{% macro comment_text(text) %}
    {{ return(modules.re.sub('[\\x00-\\x1f\\x7f-\\xa0\\u2028\\u2029]', ' ', text)[:120]) }}
{% endmacro %}


{#- The type of a value as Flagsmith's engine reads it. A quick first comparison is enough for most texts: a number begins with
    a digit or a minus. -#}
{% macro engine_kind(type, text) -%}
    case
            when {{ type }} not in ('string', 'json') then {{ type }}
            when {{ text }} is null then null
            when {{ text }} >= ':' or {{ text }} < '-' then 'string'
            when {{ regex_matches(text, '^-?[0-9]+$') }} then 'integer'
            when {{ regex_matches(text, '^-?[0-9]+[.][0-9]+$') }} then 'float'
            else 'string'
        end
{%- endmacro %}


{#- The columns value_kind to value_text. Python's str writes True, 7 (not 007) and 1.5 (not 1.50), and a text as it is. -#}
{% macro readings_of_value(text, number) -%}
    {%- set as_double = 'coalesce(' ~ number ~ ', ' ~ double_of(text) ~ ')' -%}
    value_kind,
        case when value_kind = 'string' then {{ text }} end as value_string,
        case when value_kind in ('integer', 'float') then {{ as_double }} end as value_number,
        case when value_kind = 'float' then {{ as_double }} end as value_float,
        case when value_kind = 'boolean' then case when {{ text }} = 'true' then 1 else 0 end end as value_boolean,
        case
            when value_kind = 'string' then {{ text }}
            when value_kind = 'boolean' then case when {{ text }} = 'true' then 'True' else 'False' end
            when value_kind = 'float' then {{ text_of_double(as_double) }}
            when {{ text }} like '0_%' or {{ text }} like '-0%' then {{ integer_text(text) }}
            else {{ text }}
        end as value_text
{%- endmacro %}
