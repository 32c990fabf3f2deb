{#- The value in Flagsmith's evaluation context that a property names, if it is a path to one: {source, trait_key} with
    the source `identifier`, `key`, `environment_name` or `environment_key`, or `trait` for $.identity.traits.<key>. None for
    a plain name, for an invalid path, and for a path that leads nowhere. -#}
{% macro property_source(condition) %}
    {%- set property = condition.property -%}
    {%- if not property.startswith('$.') -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set name = '[\\u0080-\\uFFFFa-zA-Z_][\\u0080-\\uFFFFa-zA-Z0-9_-]*' -%}
    {%- set step = '\\.' ~ name ~ '|\\[\'[^\'\\\\\\x00-\\x1f]*\'\\]|\\["[^"\\\\\\x00-\\x1f]*"\\]' -%}
    {%- if not modules.re.fullmatch('\\$(?:' ~ step ~ ')+', property) -%}
        {%- if modules.re.search('[\\[*]|\\.\\.|\\s[.\\[]', property) -%}
            {{ flagsmith_warehouse.refuse_rule(condition.cohort, condition.where ~ '.property',
                'is the path ' ~ tojson(property) ~ ', which cannot be compiled',
                "Paths of names can: $.identity.identifier, $.identity.traits['my trait'], $.environment.name.") }}
        {%- endif -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set names = [] -%}
    {%- for part in modules.re.findall(step, property) -%}
        {%- do names.append(part[1:] if part.startswith('.') else part[2:-2]) -%}
    {%- endfor -%}
    {%- if names[0] in ['flags', 'features', 'segments'] and names | length > 1 -%}
        {{ flagsmith_warehouse.refuse_rule(condition.cohort, condition.where ~ '.property',
            'is the path ' ~ tojson(property) ~ ': cohorts know traits, not ' ~ names[0],
            'Name a trait, $.identity.identifier, $.identity.key, $.environment.name or $.environment.key.') }}
    {%- elif names[:2] == ['identity', 'traits'] and names | length == 3 -%}
        {{ return({'source': 'trait', 'trait_key': names[2]}) }}
    {%- endif -%}
    {%- set source = {
        ('identity', 'identifier'): 'identifier',
        ('identity', 'key'): 'key',
        ('environment', 'name'): 'environment_name',
        ('environment', 'key'): 'environment_key',
    }.get((names[0], names[1]) if names | length == 2 else none) -%}
    {{ return({'source': source, 'trait_key': ''} if source else none) }}
{% endmacro %}
