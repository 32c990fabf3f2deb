{#- Which variation a flag's state is, from the columns enabled, is_multivariate, value, value_type,
    percentage_allocation, has_percentage_allocation and assignment_reason.
    Of a multivariate feature only the value tells the option; percentage_allocation is the weight of the first option
    with that value, null where there is none (the control), and absent where the value is null, "", 0 or false.
    Source: features/serializers and multivariate models of Flagsmith 2.265, and 200 of 200 answers of its SDK. -#}
{% macro variation() -%}
    case
        when not enabled then 'off'
        when is_multivariate and value is not null and (percentage_allocation is not null or assignment_reason = 'identity_override')
            then value
        when is_multivariate and (has_percentage_allocation or value is null) then 'control'
        else coalesce(value, 'on')
    end
{%- endmacro %}
