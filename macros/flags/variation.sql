{#- The variation of a flag's state, from the columns enabled, is_multivariate, value, value_type,
    percentage_allocation and has_percentage_allocation.
    For a multivariate feature, only the value shows which option was given. percentage_allocation is the weight of the first
    option with that value. It is null if no option has that value (the control, also for an identity override), and absent
    if the value is null, "", 0 or false.
    Source: features/serializers and multivariate models of Flagsmith 2.265, and 1,370 of 1,370 flags that its API answered
    (tests/marts/test_answers.py). -#}
{% macro variation() -%}
    case
        when not enabled then 'off'
        when is_multivariate and value is not null and percentage_allocation is not null then value
        when is_multivariate and (has_percentage_allocation or value is null) then 'control'
        else coalesce(value, 'on')
    end
{%- endmacro %}
