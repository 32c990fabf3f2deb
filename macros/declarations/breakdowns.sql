{#- A pattern: what a breakdown is of (1) and its name in Flagsmith, or a cohort's key (2). -#}
{% macro breakdown_pattern() %}
    {{ return('(?s)^\\s*(trait|segment|cohort):\\s*([^;]*[^;\\s])\\s*$') }}
{% endmacro %}

{#- A pattern: a cell of breakdowns. -#}
{% macro breakdowns_pattern() %}
    {%- set breakdown = '\\s*(trait|segment|cohort):[^;]*[^;\\s][^;]*' -%}
    {{ return('(?s)^' ~ breakdown ~ '(;' ~ breakdown ~ ')*;?\\s*$') }}
{% endmacro %}

{#- Select: what the experiments of a relation ask to be broken down by: experiment_key, kind and name. -#}
{% macro breakdown_dimensions(experiments) %}
    select distinct
        experiment_key,
        {{ regex_group('part', flagsmith_warehouse.breakdown_pattern(), 1) }} as kind,
        {{ regex_group('part', flagsmith_warehouse.breakdown_pattern(), 2) }} as name
    from (
        select experiment_key, {{ text_parts('breakdowns', ';') }} as part
        from {{ experiments }}
        where breakdowns is not null
    ) as parts
    where {{ regex_matches('part', flagsmith_warehouse.breakdown_pattern()) }}
{% endmacro %}
