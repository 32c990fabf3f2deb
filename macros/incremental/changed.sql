{#- What a model reads. In a full build all of these are as if everything had just come in: see
    macros/materializations/increment.sql. Each is a relation, to be given an alias. -#}

{#- The relations whose rows have the number of the build that first saw the delivery. -#}
{% macro is_numbered(name) %}
    {{ return(name in ['stg_flagsmith__deliveries', 'int_deliveries']) }}
{% endmacro %}

{#- The deliveries of `name` that are new to the model: not taken in before, and not newer than what all its sources have
    taken in, since a model that adds to what it has must not meet a delivery twice. -#}
{% macro new(name) -%}
    (select * from {{ ref(name) }} as deliveries where {{ flagsmith_warehouse.is_new('deliveries') }})
{%- endmacro %}

{#- The rows of the source `name` that may count otherwise now.
      Of a model that adds, those whose key it does not know yet; of a source of deliveries, only among the new ones.
      Of a model that replaces, those of what has changed; `clock` is the source's column that says when. Where it is
      replaced in part they have the column rebuilt_from; without a clock they are there from the beginning. -#}
{% macro changed(name, clock='received_at') -%}
    {%- set source = ref(name) -%}
    {%- set key = flagsmith_warehouse.says('adds') -%}
    {%- set unit = flagsmith_warehouse.replaced_unit() -%}
    {%- if key and flagsmith_warehouse.is_numbered(name) -%}
    (
        select * from {{ source }} as source
        where {{ flagsmith_warehouse.is_new('source') }}
        {%- if is_increment() %} and {{ flagsmith_warehouse.is_unknown(key, name) }}{% endif %}
    )
    {%- elif not is_increment() -%}
    {{ source if key or (unit and not unit.is_in_part)
        else '(select source.*, ' ~ flagsmith_warehouse.beginning_of_time() ~ ' as rebuilt_from from ' ~ source ~ ' as source)' }}
    {%- elif key -%}
    (select * from {{ source }} as source where {{ flagsmith_warehouse.is_unknown(key, name) }})
    {%- else -%}
    (
        select source.*{{ ', changed.rebuilt_from' if unit.is_in_part }}
        from {{ source }} as source
        inner join {{ flagsmith_warehouse.changed_keys_table() }} as changed
            on
                {%- for key in unit.columns %}
                {% if key in ['hour', 'day'] -%}
                date_trunc('{{ key }}', source.{{ clock }}) = changed.{{ key }}
                -- Says nothing new, but that earlier rows need not be read (1,000,000: 0.06 s).
                and source.{{ clock }} >= changed.{{ key }}
                {%- else -%}
                source.{{ key }} = changed.{{ key }}
                {%- endif %}
                {{- ' and' if not loop.last }}
                {%- endfor %}
                {%- if unit.is_in_part and clock %}
                and source.{{ clock }} >= changed.rebuilt_from
                {%- endif %}
    )
    {%- endif -%}
{%- endmacro %}

{#- The model's own rows of what has changed, as they are before they are replaced; of a model that adds, all. With the
    column rebuilt_from where they are replaced in part. Without a row in a full build; the types are then those that the
    model's columns declare. -#}
{% macro known() -%}
    {%- set unit = flagsmith_warehouse.replaced_unit() -%}
    {%- if not is_increment() -%}
    (
        select
            {%- for column in model.get('columns', {}).values() %}
            cast(null as {{ type_named(column.data_type) }}) as {{ adapter.quote(column.name) }},
            {%- endfor %}
            {{ flagsmith_warehouse.beginning_of_time() }} as rebuilt_from
        where 1 = 0
    )
    {%- elif not unit -%}
    {{ this }}
    {%- else -%}
    (
        select known.*{{ ', changed.rebuilt_from' if unit.is_in_part }}
        from {{ this }} as known
        inner join {{ flagsmith_warehouse.changed_keys_table() }} as changed
            on {% for key in unit.columns %}known.{{ key }} = changed.{{ key }}{{ ' and ' if not loop.last }}{% endfor %}
    )
    {%- endif -%}
{%- endmacro %}

{#- Condition: the delivery is new to the model. -#}
{% macro is_new(alias) -%}
    {{ alias }}._build_number <= {{ progress().sources_built_up_to }}
    {%- if is_increment() %} and {{ alias }}._build_number > {{ progress().built_up_to }}{% endif %}
{%- endmacro %}

{#- Condition on `source`: the model has no row of its key yet. Ids of deliveries begin with the time of receipt: of those, what
    is known from before the earliest new one is not read (1,000,000: 0.05 s). `distinct` keeps the table small in which
    each key is looked up (1,000,000 elements: 0.02 s). -#}
{% macro is_unknown(key, name) -%}
    {%- if key == 'delivery_id' -%}
    {%- set new_ids = ' from ' ~ ref(name) ~ ' as deliveries where ' ~ is_new('deliveries') -%}
    source.delivery_id not in (
            select delivery_id from {{ this }}
            where
                delivery_id in (select delivery_id{{ new_ids }})
                and delivery_id >= (select min(delivery_id){{ new_ids }})
        )
    {%- else -%}
    source.{{ key }} not in (select distinct {{ key }} from {{ this }})
    {%- endif -%}
{%- endmacro %}

{#- Before everything that was ever received. -#}
{% macro beginning_of_time() -%}
    timestamp '0001-01-01'
{%- endmacro %}
