{#- What the numbers of deliveries mean, and when they begin anew.

    A delivery keeps its `_build_number` for ever: models that add up would take in a second time what is numbered anew. Where
    stg_flagsmith__deliveries is made from scratch, numbers are taken over from where they are still known. Where they are
    known nowhere, or where deliveries that were taken in have left the landing (an older landing was put back), a new
    numbering begins. Every model records with which numbering it was built, by its fingerprint, and rebuilds itself in
    full with another. -#}

{#- The relations in which deliveries have numbers. First int_deliveries: what models have taken in has the number that it has
    there. (In 0.1.0 the two could differ.) -#}
{% macro numbered_relations() %}
    {%- set relations = [] -%}
    {%- for name in ['int_deliveries', 'stg_flagsmith__deliveries'] if flagsmith_warehouse.built_model(name) -%}
        {%- do relations.append(flagsmith_warehouse.built_model(name)) -%}
    {%- endfor -%}
    {{ return(relations) }}
{% endmacro %}

{#- The number of the build with which the numbering began that stg_flagsmith__deliveries is to have now. `known`: the one
    that it has; none for none. -#}
{% macro numbering(known) %}
    {%- set relations = flagsmith_warehouse.numbered_relations() -%}
    {%- if known is none or not relations -%}{{ return(next_build_number()) }}{%- endif -%}
    {%- if is_empty_run() -%}{{ return(known) }}{%- endif -%}
    {%- set lost -%}
        select count(*)
        from (select landed_at, count(*) as deliveries from {{ relations[-1] }} group by landed_at) as taken_in
        left join (
            select landed_at, count(*) as deliveries from {{ source('landing', 'webhooks') }} group by landed_at
        ) as landed on taken_in.landed_at = landed.landed_at
        where taken_in.deliveries > coalesce(landed.deliveries, 0)
    {%- endset -%}
    {{ return(known if scalar(lost, 0) | int == 0 else next_build_number()) }}
{% endmacro %}

{#- A query: delivery_id and _build_number of all deliveries that may come in now and have a number already. In an increment
    none has: what comes in is new. -#}
{% macro known_numbers() %}
    {%- set relations = flagsmith_warehouse.numbered_relations() if is_built_now() and not is_increment() else [] -%}
    {%- if not relations -%}
        {{ return('select cast(null as string) as delivery_id, cast(null as bigint) as _build_number where 1 = 0') }}
    {%- endif -%}
    {%- set query -%}
        {%- for relation in relations %}
        select delivery_id, _build_number from {{ relation }}
        {%- if not loop.first %}
        where delivery_id not in (select delivery_id from {{ relations[0] }})
        {%- endif %}
        {{- ' union all ' if not loop.last }}
        {%- endfor %}
    {%- endset -%}
    {{ return(query) }}
{% endmacro %}

{#- The number this build gives to the deliveries it is the first to see: above all numbers ever given. -#}
{% macro next_build_number() %}
    {%- set given = ['select max(build_number) as number from ' ~ build_progress()] -%}
    {%- if is_built_now() -%}
    {%- for relation in flagsmith_warehouse.numbered_relations() -%}
        {%- do given.append('select max(_build_number) as number from ' ~ relation) -%}
    {%- endfor -%}
    {%- endif -%}
    {{ return(scalar('select coalesce(max(number), 0) + 1 from (' ~ given | join(' union all ') ~ ') as given', 1) | int) }}
{% endmacro %}
