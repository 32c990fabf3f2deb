{#- The columns that stay the same during a spell of a flag, as one number. -#}
{% macro flag_state_hash() -%}
    {{ content_hash(text_of(['enabled', 'value_type', 'value', 'assignment_reason', 'variation'])) }}
{%- endmacro %}

{#- The key of an exposure without environment and identity, as one number. -#}
{% macro flag_exposure_hash() -%}
    {{ content_hash(text_of(['feature_id', 'enabled', 'assignment_reason', 'variation'])) }}
{%- endmacro %}

{#- Statements that int_flag_set_elements runs before an increment. When the logic changes, sets of flags whose bodies retention
    has pruned cannot be read again. These statements recompute their variations and hashes from the columns that are left.
    Otherwise every flag would seem to change at the first evaluation after an upgrade. -#}
{% macro describe_kept_flags() %}
    {%- if progress().is_same or is_empty_run() -%}{{ return([]) }}{%- endif -%}
    {{ return([
        'update ' ~ this ~ ' set variation = ' ~ variation(),
        'update ' ~ this ~ ' set state_hash = ' ~ flag_state_hash() ~ ', exposure_hash = ' ~ flag_exposure_hash(),
    ]) }}
{% endmacro %}
