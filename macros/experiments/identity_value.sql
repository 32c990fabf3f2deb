{#- An expression: what a metric adds up of an identity's events of a day: their number, or their values. `part` is a column
    without its ending: <part>_count and <part>_sum. -#}
{% macro summand(aggregation, numerator_aggregation, part) -%}
    case
        when
            {{ aggregation }} in ('occurrence', 'count')
            or ({{ aggregation }} = 'ratio' and {{ numerator_aggregation }} = 'count')
            then cast({{ part }}_count as double)
        else {{ part }}_sum
    end
{%- endmacro %}

{#- An expression: the identity's outcome from that sum (and, for a mean, from the number of values). -#}
{% macro identity_value(aggregation, total, number_of_values) -%}
    case
        when {{ aggregation }} = 'occurrence' then case when {{ total }} > 0 then 1e0 else 0e0 end
        when {{ aggregation }} = 'mean' then coalesce({{ total }} / nullif({{ number_of_values }}, 0), 0)
        else {{ total }}
    end
{%- endmacro %}
