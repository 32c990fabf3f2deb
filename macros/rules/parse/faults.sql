{#- Reports a fault: which cohort, where inside it, what is wrong, what to do. If `cohort` is a cohort that is being judged, the
    fault is added to its faults, and the caller continues with a result that nobody will use. If it is a name, the run
    stops. -#}
{% macro refuse_rule(cohort, where, what, remedy) %}
    {%- if cohort is mapping -%}
        {%- do cohort.faults.append({'where': where, 'what': what, 'remedy': remedy}) -%}
        {{ return('') }}
    {%- endif -%}
    {{ exceptions.raise_compiler_error(
        "Cohort '" ~ cohort ~ "' (vars: cohorts:): " ~ where ~ ' ' ~ what ~ '. ' ~ remedy) }}
{% endmacro %}


{#- Warns that Flagsmith's engine never matches a condition. The run goes on. -#}
{% macro warn_rule(condition, what) %}
    {%- set remedy = "Flagsmith's engine accepts it and never matches, and so does the cohort." -%}
    {%- if condition.cohort is mapping -%}
        {%- do condition.cohort.warnings.append({'where': condition.where, 'what': what, 'remedy': remedy}) -%}
    {%- elif execute -%}
        {%- do exceptions.warn("Cohort '" ~ condition.cohort ~ "' (vars: cohorts:): " ~ condition.where ~ ' ' ~ what ~ '. ' ~ remedy) -%}
    {%- endif -%}
{% endmacro %}


{#- A value as it is quoted in a message: a text in quotation marks, anything else (such as a date) as Python writes it. -#}
{% macro quoted(thing) %}
    {{ return(tojson(thing) if thing is string or thing is boolean or thing is none else thing | string) }}
{% endmacro %}
