{#- A condition: a name looks like the hash of one, which the privacy rule `identity = "hash"` puts in its place. -#}
{% macro looks_hashed(name) %}{{ return(regex_matches(name, '^[0-9a-f]{32}$')) }}{% endmacro %}
