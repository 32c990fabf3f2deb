{#- An expression: the identity's outcome from the sum of its values (and, for a mean, their number). -#}
{% macro identity_value(aggregation, total, number_of_values) -%}
    case
        when {{ aggregation }} = 'occurrence' then case when {{ total }} > 0 then 1e0 else 0e0 end
        when {{ aggregation }} = 'mean' then coalesce({{ total }} / nullif({{ number_of_values }}, 0), 0)
        else {{ total }}
    end
{%- endmacro %}

{#- An expression: the value, or the cap where it is above it. A null cap caps nothing. -#}
{% macro capped(value, cap) -%}
    case when coalesce({{ value }} <= {{ cap }}, true) then {{ value }} else {{ cap }} end
{%- endmacro %}
