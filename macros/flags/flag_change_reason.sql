{#- Why a flag's state changed: the first reason that applies, from its states just before and just after.
    earlier, element: aliases of int_flag_set_elements. -#}
{% macro flag_change_reason(earlier, element) -%}
    case
        when {{ earlier }}.assignment_reason <> 'identity_override' and {{ element }}.assignment_reason = 'identity_override'
            then 'identity_override_added'
        when {{ earlier }}.assignment_reason = 'identity_override' and {{ element }}.assignment_reason <> 'identity_override'
            then 'identity_override_removed'
        when {{ earlier }}.assignment_reason <> 'segment_override' and {{ element }}.assignment_reason = 'segment_override'
            then 'segment_override_added'
        when {{ earlier }}.assignment_reason = 'segment_override' and {{ element }}.assignment_reason <> 'segment_override'
            then 'segment_override_removed'
        when {{ earlier }}.enabled <> {{ element }}.enabled then 'toggled'
        when coalesce({{ earlier }}.percentage_allocation, -1) <> coalesce({{ element }}.percentage_allocation, -1)
            then 'weights_changed'
        else 'value_changed'
    end
{%- endmacro %}
