{#- The engine's name for a type as the YAML of models and seeds writes it: varchar, varchar[], uhugeint, json, …. -#}
{% macro type_named(type) %}{{ return(adapter.dispatch('type_named', 'flagsmith_warehouse')(type)) }}{% endmacro %}

{% macro default__type_named(type) %}{{ refuse_engine('type_named', 'type_named') }}{% endmacro %}

{% macro duckdb__type_named(type) %}{{ return(type) }}{% endmacro %}

{#- A content hash is a text there, and so is JSON. -#}
{% macro spark__type_named(type) %}
    {%- if type.endswith('[]') -%}{{ return('array<' ~ spark__type_named(type[:-2]) ~ '>') }}{%- endif -%}
    {{ return({'varchar': 'string', 'uhugeint': 'string', 'json': 'string', 'timestamp with time zone': 'timestamp', 'integer': 'int'}.get(type | lower, type)) }}
{% endmacro %}
