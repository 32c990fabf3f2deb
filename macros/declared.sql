{#- The relation in which people declare something: the seed of that name, or whatever relation the var of that name
    gives (a project that installs this one as a package brings its own; a table elsewhere survives upgrades). -#}
{% macro declared(name) %}
    {{ return(var(name, none) or ref(name)) }}
{% endmacro %}
