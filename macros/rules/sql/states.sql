{#- CTEs up to `states`: the conditions that hold for an identity from each moment at which they changed (changed_at). No two
    conditions share a bit, so a sum of bits is a set of conditions. -#}
{% macro steps_to_states(plan) -%}
{%- set columns = range(plan.condition_columns) -%}
periods as (

    -- Most traits of an identity come and go together, so there are far fewer periods than values.
    select
        environment,
        identity,
        valid_from,
        valid_to,
        count(*) over (partition by environment, identity) as period_count
        {%- for column in columns %},
        sum(conditions_{{ column }}) as conditions_{{ column }}
        {%- endfor %}
    from held_conditions
    group by environment, identity, valid_from, valid_to

),

changes as (

    -- The bits of a period are added at its beginning and subtracted at its end.
    select
        environment,
        identity,
        valid_from as changed_at
        {%- for column in columns %},
        conditions_{{ column }}
        {%- endfor %}
    from periods
    where period_count > 1 or valid_to is not null

    union all

    select
        environment,
        identity,
        valid_to as changed_at
        {%- for column in columns %},
        -conditions_{{ column }} as conditions_{{ column }}
        {%- endfor %}
    from periods
    where valid_to is not null

),

moments as (

    -- One row per moment: periods that end and begin at the same time are one change.
    select
        environment,
        identity,
        changed_at
        {%- for column in columns %},
        sum(conditions_{{ column }}) as conditions_{{ column }}
        {%- endfor %}
    from changes
    group by environment, identity, changed_at

),

states as (

    -- Most identities never change, so they skip sorting.
    select
        environment,
        identity,
        valid_from as changed_at,
        true as is_only_state
        {%- for column in columns %},
        cast(conditions_{{ column }} as bigint) as conditions_{{ column }}
        {%- endfor %}
    from periods
    where period_count = 1 and valid_to is null

    union all

    -- All changes so far add up to the conditions that hold now.
    select
        environment,
        identity,
        changed_at,
        false as is_only_state
        {%- for column in columns %},
        cast(sum(conditions_{{ column }}) over identity_so_far as bigint) as conditions_{{ column }}
        {%- endfor %}
    from moments
    window identity_so_far as (
        partition by environment, identity order by changed_at rows between unbounded preceding and current row
    )

),
{%- endmacro %}
