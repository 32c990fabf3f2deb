{#- True where a text holds a match of the expression, which is a constant in the dialect of RE2. -#}
{% macro regex_matches(text, pattern) %}{{ return(adapter.dispatch('regex_matches', 'flagsmith_warehouse')(text, pattern)) }}{% endmacro %}

{% macro default__regex_matches(text, pattern) %}{{ refuse_engine('regex_matches', 'regex') }}{% endmacro %}

{% macro duckdb__regex_matches(text, pattern) %}
    {{ return('regexp_matches(' ~ text ~ ', ' ~ text_literal(pattern) ~ ')') }}
{% endmacro %}

{% macro spark__regex_matches(text, pattern) %}
    {{ return('regexp_like(' ~ text ~ ', ' ~ text_literal(pattern) ~ ')') }}
{% endmacro %}


{#- What a group of the expression's match holds; empty where nothing matches or the group takes no part. -#}
{% macro regex_group(text, pattern, group) %}{{ return(adapter.dispatch('regex_group', 'flagsmith_warehouse')(text, pattern, group)) }}{% endmacro %}

{% macro default__regex_group(text, pattern, group) %}{{ refuse_engine('regex_group', 'regex') }}{% endmacro %}

{% macro duckdb__regex_group(text, pattern, group) %}
    {{ return('regexp_extract(' ~ text ~ ', ' ~ text_literal(pattern) ~ ', ' ~ group ~ ')') }}
{% endmacro %}

{% macro spark__regex_group(text, pattern, group) %}
    {{ return('regexp_extract(' ~ text ~ ', ' ~ text_literal(pattern) ~ ', ' ~ group ~ ')') }}
{% endmacro %}


{#- The text with every match of the expression replaced; \1 in the replacement is what its first group holds. -#}
{% macro regex_replaced(text, pattern, replacement) %}{{ return(adapter.dispatch('regex_replaced', 'flagsmith_warehouse')(text, pattern, replacement)) }}{% endmacro %}

{% macro default__regex_replaced(text, pattern, replacement) %}{{ refuse_engine('regex_replaced', 'regex') }}{% endmacro %}

{% macro duckdb__regex_replaced(text, pattern, replacement) %}
    {{ return('regexp_replace(' ~ text ~ ', ' ~ text_literal(pattern) ~ ', ' ~ text_literal(replacement) ~ ", 'g')") }}
{% endmacro %}

{% macro spark__regex_replaced(text, pattern, replacement) %}
    {%- set replacement = modules.re.sub('\\\\([0-9])', '$\\1', replacement.replace('$', '\\$')) -%}
    {{ return('regexp_replace(' ~ text ~ ', ' ~ text_literal(pattern) ~ ', ' ~ text_literal(replacement) ~ ')') }}
{% endmacro %}
