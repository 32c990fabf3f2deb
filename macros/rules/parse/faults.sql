{#- Which cohort, where inside it, what is the matter, what to do. Where `cohort` is one that is being judged, the fault is
    added to its faults, and whoever called goes on to an answer that nobody will use; where it is a name, the run stops. -#}
{% macro refuse_rule(cohort, where, what, remedy) %}
    {%- if cohort is mapping -%}
        {%- do cohort.faults.append({'where': where, 'what': what, 'remedy': remedy}) -%}
        {{ return('') }}
    {%- endif -%}
    {{ exceptions.raise_compiler_error(
        "Cohort '" ~ cohort ~ "' (vars: cohorts:): " ~ where ~ ' ' ~ what ~ '. ' ~ remedy) }}
{% endmacro %}


{#- Says that a condition never holds, as Flagsmith's engine reads it; the run goes on. -#}
{% macro warn_rule(condition, what) %}
    {%- set remedy = "Flagsmith's engine accepts it and never matches, and so does the cohort." -%}
    {%- if condition.cohort is mapping -%}
        {%- do condition.cohort.warnings.append({'where': condition.where, 'what': what, 'remedy': remedy}) -%}
    {%- elif execute -%}
        {%- do exceptions.warn("Cohort '" ~ condition.cohort ~ "' (vars: cohorts:): " ~ condition.where ~ ' ' ~ what ~ '. ' ~ remedy) -%}
    {%- endif -%}
{% endmacro %}


{#- A thing as it is quoted in a message: a text in quotation marks, anything else (YAML knows dates) as Python writes it. -#}
{% macro quoted(thing) %}
    {{ return(tojson(thing) if thing is string or thing is boolean or thing is none else thing | string) }}
{% endmacro %}
