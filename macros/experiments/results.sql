{#- The columns of int_experiment_estimates that results show, for each adjustment and difference. -#}
{% macro estimate_columns() %}
    {{ return([
        'lift', 'standard_error', 'degrees_of_freedom', 'low', 'high', 'p_value',
        'sequential_low', 'sequential_high', 'sequential_p_value',
        'bayesian_lift', 'bayesian_low', 'bayesian_high', 'chance_to_win', 'loss_of_control', 'loss_of_variation',
    ]) }}
{% endmacro %}

{#- The columns of the results, by name: `relative_low`, `cuped_absolute_p_value`, … -#}
{% macro result_columns() %}
    {%- set names = [] -%}
    {%- for prefix in ['', 'cuped_'] -%}
        {%- for difference in ['absolute', 'relative'] -%}
            {%- for column in estimate_columns() -%}
                {%- do names.append(prefix ~ difference ~ '_' ~ column) -%}
            {%- endfor -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(names) }}
{% endmacro %}

{#- A condition: the rows of both relations are of the same day, dimension and value. Each may be null. -#}
{% macro same_slice(one, other) -%}
    {%- for column in ['day', 'dimension', 'dimension_value'] -%}
    {{ one }}.{{ column }} is not distinct from {{ other }}.{{ column }}{{ ' and ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}
