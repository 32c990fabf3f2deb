{#- A text as an SQL literal, whatever is in it. -#}
{% macro text_literal(text) %}{{ return(adapter.dispatch('text_literal', 'flagsmith_warehouse')(text)) }}{% endmacro %}

{% macro default__text_literal(text) %}{{ refuse_engine('text_literal', 'text') }}{% endmacro %}

{% macro duckdb__text_literal(text) %}{{ return("'" ~ text.replace("'", "''") ~ "'") }}{% endmacro %}

{% macro spark__text_literal(text) %}{{ return("'" ~ text.replace('\\', '\\\\').replace("'", "\\'") ~ "'") }}{% endmacro %}


{#- True where a text holds another, compared by code points; every text holds the empty one. -#}
{% macro text_contains(text, part) %}{{ return(adapter.dispatch('text_contains', 'flagsmith_warehouse')(text, part)) }}{% endmacro %}

{% macro default__text_contains(text, part) %}{{ refuse_engine('text_contains', 'text') }}{% endmacro %}

{% macro duckdb__text_contains(text, part) %}{{ return('contains(' ~ text ~ ', ' ~ part ~ ')') }}{% endmacro %}

{% macro spark__text_contains(text, part) %}{{ return('contains(' ~ text ~ ', ' ~ part ~ ')') }}{% endmacro %}


{#- Number of characters. -#}
{% macro length_of(text) %}{{ return('length(' ~ text ~ ')') }}{% endmacro %}


{#- The n-th part (from 1) of a text between separators; empty where there are fewer. -#}
{% macro text_part(text, separator, number) %}{{ return(adapter.dispatch('text_part', 'flagsmith_warehouse')(text, separator, number)) }}{% endmacro %}

{% macro default__text_part(text, separator, number) %}{{ refuse_engine('text_part', 'text') }}{% endmacro %}

{% macro duckdb__text_part(text, separator, number) %}
    {{ return('split_part(' ~ text ~ ', ' ~ text_literal(separator) ~ ', ' ~ number ~ ')') }}
{% endmacro %}

{% macro spark__text_part(text, separator, number) %}
    {{ return('split_part(' ~ text ~ ', ' ~ text_literal(separator) ~ ', ' ~ number ~ ')') }}
{% endmacro %}
