{#- CTEs up to `held_conditions`: the conditions that hold for an identity because of one value, as bits, with the period in
    which they hold. Many identities share a trait's value, so each condition is tested once per distinct value. -#}
{% macro steps_to_held_conditions(plan, traits, identities) -%}
{%- set columns = range(plan.condition_columns) -%}
{%- if plan.traits %}
trait_values as (

    -- Each condition is tested once per distinct value, because many identities share most values.
    select
        trait_key,
        value_type,
        value_text as given_text,
        any_value(value_number) as given_number
    from {{ traits }}
    where {{ flagsmith_warehouse.is_asked_trait(plan.traits) }}
    group by trait_key, value_type, value_text

),

{{ flagsmith_warehouse.steps_to_value_conditions(
    'trait_values', ['trait_key', 'value_type', 'given_text'], 'trait_key', plan.traits, plan.condition_columns) }}
{%- endif %}
{%- if plan.identity_values %}

identity_values as (

    -- Conditions can also test the identifier, its key in Flagsmith and the environment.
    {%- for source in plan.identity_values %}
    select
        environment,
        identity,
        first_seen_at,
        '{{ source }}' as source,
        'string' as value_type,
        {{ flagsmith_warehouse.value_of_identity(source) }} as given_text,
        cast(null as double) as given_number
    from {{ identities }}
    where {{ flagsmith_warehouse.value_of_identity(source) }} is not null
    {{- '\n\n    union all\n' if not loop.last }}
    {%- endfor %}

),

{{ flagsmith_warehouse.steps_to_value_conditions(
    'identity_values', ['environment', 'identity', 'first_seen_at', 'source'], 'source', plan.identity_values, plan.condition_columns) }}
{%- endif %}

held_conditions as (

    -- Every identity has a state from its first sighting on, even without traits.
    select
        environment,
        identity,
        first_seen_at as valid_from,
        cast(null as timestamp) as valid_to
        {%- for column in columns %},
        cast(0 as bigint) as conditions_{{ column }}
        {%- endfor %}
    from {{ identities }}
    {%- if plan.identity_values %}

    union all

    select
        environment,
        identity,
        first_seen_at as valid_from,
        cast(null as timestamp) as valid_to
        {%- for column in columns %},
        conditions_{{ column }}
        {%- endfor %}
    from identity_values_conditions
    {%- endif %}
    {%- if plan.traits %}

    union all

    select
        traits.environment,
        traits.identity,
        traits.valid_from,
        traits.valid_to
        {%- for column in columns %},
        trait_values_conditions.conditions_{{ column }}
        {%- endfor %}
    from (select * from {{ traits }} where {{ flagsmith_warehouse.is_asked_trait(plan.traits) }}) as traits
    inner join trait_values_conditions
        on
            traits.trait_key = trait_values_conditions.trait_key
            and traits.value_type = trait_values_conditions.value_type
            and traits.value_text = trait_values_conditions.given_text
    {%- endif %}
    {%- if plan.trait_presence %}

    union all

    -- Rules only test whether these traits are present, so their values are not read.
    select
        environment,
        identity,
        valid_from,
        valid_to
        {%- for column in columns %},
        {{ flagsmith_warehouse.condition_bits('trait_key', plan.trait_presence, column) }} as conditions_{{ column }}
        {%- endfor %}
    from {{ traits }}
    where {{ flagsmith_warehouse.is_asked_trait(plan.trait_presence) }}
    {%- endif %}

),
{%- endmacro %}


{#- Flagsmith's engine does not see transient traits, and treats a null trait as not set. -#}
{% macro is_asked_trait(conditions) -%}
    not is_transient and value_type <> 'null' and trait_key in (
        {%- for trait_key in conditions %}{{ text_literal(trait_key) }}{{ ', ' if not loop.last }}{% endfor -%}
    )
{%- endmacro %}


{#- A value of an identity that is not a trait, by the source that a condition names. The identity's key in Flagsmith is
    `<environment key>_<identifier>`. Keys are null in an environment without a declared key. -#}
{% macro value_of_identity(source) -%}
    {%- if source == 'identifier' -%} identity
    {%- elif source == 'key' -%} {{ flagsmith_warehouse.flagsmith_environment('key') }} || '_' || identity
    {%- elif source == 'environment_name' -%} {{ flagsmith_warehouse.flagsmith_environment('name') }}
    {%- elif source == 'environment_key' -%} {{ flagsmith_warehouse.flagsmith_environment('key') }}
    {%- endif -%}
{%- endmacro %}
