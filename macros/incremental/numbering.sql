{#- The numbers of deliveries, and when numbering starts again.

    A delivery keeps its `_build_number` for ever, because models that add up would count a renumbered delivery twice. When
    stg_flagsmith__deliveries is built in full, it takes numbers from wherever they are still known. A new numbering starts
    if no number is known, or if counted deliveries have left the landing because an older landing was restored. The
    numbering is part of every model's fingerprint, so a model rebuilds itself in full after a new one. -#}

{#- The relations in which deliveries have numbers. int_deliveries comes first, because later models have read the numbers
    from there. (In 0.1.0 the two relations could differ.) -#}
{% macro numbered_relations() %}
    {%- set relations = [] -%}
    {%- for name in ['int_deliveries', 'stg_flagsmith__deliveries'] if flagsmith_warehouse.built_model(name) -%}
        {%- do relations.append(flagsmith_warehouse.built_model(name)) -%}
    {%- endfor -%}
    {{ return(relations) }}
{% endmacro %}

{#- The numbering that stg_flagsmith__deliveries must have now: the number of the first build in it. `known`: the
    numbering that it has, or none. -#}
{% macro numbering(known) %}
    {%- set relations = flagsmith_warehouse.numbered_relations() -%}
    {%- if known is none or not relations -%}{{ return(next_build_number()) }}{%- endif -%}
    {%- if is_empty_run() -%}{{ return(known) }}{%- endif -%}
    {%- set lost -%}
        select count(*)
        from (select landed_at, count(*) as deliveries from {{ relations[-1] }} group by landed_at) as known_deliveries
        left join (
            select landed_at, count(*) as deliveries from {{ source('landing', 'webhooks') }} group by landed_at
        ) as landed on known_deliveries.landed_at = landed.landed_at
        where known_deliveries.deliveries > coalesce(landed.deliveries, 0)
    {%- endset -%}
    {{ return(known if scalar(lost, 0) | int == 0 else next_build_number()) }}
{% endmacro %}

{#- A query: delivery_id and _build_number of the deliveries that this build reads and that already have a number. There are
    none in an increment, which reads only new deliveries. -#}
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

{#- The number that this build gives to new deliveries: one above every number given so far. -#}
{% macro next_build_number() %}
    {%- set relations = flagsmith_warehouse.numbered_relations() if is_built_now() else [] -%}
    {%- set given = [flagsmith_warehouse.recorded_build_number(relations | length > 0)] -%}
    {%- for relation in relations -%}
        {%- do given.append('select max(_build_number) as number from ' ~ relation) -%}
    {%- endfor -%}
    {{ return(scalar('select coalesce(max(number), 0) + 1 from (' ~ given | join(' union all ') ~ ') as given', 1) | int) }}
{% endmacro %}
