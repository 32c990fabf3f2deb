{#- Stops the run where a macro has no implementation for the engine in use, and says where to write one. -#}
{% macro refuse_engine(macro_name, file) %}
    {{ exceptions.raise_compiler_error(
        "flagsmith_warehouse has no " ~ macro_name ~ " for the engine " ~ adapter.type() ~ ". Write "
        ~ adapter.type() ~ "__" ~ macro_name ~ " in macros/engine/" ~ file ~ ".sql, beside the one for duckdb."
    ) }}
{% endmacro %}
