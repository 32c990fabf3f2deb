{#- A JSON float in Python's shortest spelling (12.0, 1e-07), which is Flagsmith's; one too large for a double, as it
    was sent. -#}
{% macro float_text(json) %}{{ return(adapter.dispatch('float_text', 'flagsmith_warehouse')(json)) }}{% endmacro %}

{% macro default__float_text(json) %}{{ refuse_engine('float_text', 'float_text') }}{% endmacro %}

{% macro duckdb__float_text(json) -%}
    case
        when isfinite(try_cast(cast({{ json }} as varchar) as double))
            then cast(try_cast(cast({{ json }} as varchar) as double) as varchar)
        else cast({{ json }} as varchar)
    end
{%- endmacro %}

{% macro spark__float_text(json) -%}
    case
        when {{ finite_number('cast(' ~ json ~ ' as string)') }} is not null
            then {{ text_of_double(finite_number('cast(' ~ json ~ ' as string)')) }}
        else cast({{ json }} as string)
    end
{%- endmacro %}


{#- A number's text as a double; null where it is no number or beyond a double. -#}
{% macro finite_number(text) %}{{ return(adapter.dispatch('finite_number', 'flagsmith_warehouse')(text)) }}{% endmacro %}

{% macro default__finite_number(text) %}{{ refuse_engine('finite_number', 'float_text') }}{% endmacro %}

{% macro duckdb__finite_number(text) -%}
    case when isfinite(try_cast({{ text }} as double)) then try_cast({{ text }} as double) end
{%- endmacro %}

{% macro spark__finite_number(text) -%}
    case when abs({{ double_of(text) }}) < double('infinity') then {{ double_of(text) }} end
{%- endmacro %}
