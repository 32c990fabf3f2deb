{#- What a spell of a flag holds constant, as one number. -#}
{% macro flag_state_hash() -%}
    {{ content_hash(text_of(['enabled', 'value_type', 'value', 'assignment_reason', 'variation'])) }}
{%- endmacro %}

{#- The key of an exposure beside the identity, as one number. -#}
{% macro flag_exposure_hash() -%}
    {{ content_hash(text_of(['feature_id', 'enabled', 'assignment_reason', 'variation'])) }}
{%- endmacro %}

{#- Statements that int_flag_set_elements begins an increment with. Where retention has pruned bodies, their sets of flags stay as they were read when the
    logic changes. Their variations and hashes are made anew from what was read: otherwise every flag would seem to change
    at the first evaluation after an upgrade. -#}
{% macro describe_kept_flags() %}
    {%- if not progress().is_same and not is_empty_run() %}
    update {{ this }} set variation = {{ variation() }};
    update {{ this }} set state_hash = {{ flag_state_hash() }}, exposure_hash = {{ flag_exposure_hash() }}
    {%- endif %}
{% endmacro %}
