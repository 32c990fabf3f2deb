{{ config(materialized='table_in_place') }}

{#- What an experiment can withdraw: who is still given it, and who comes back without it. -#}
{%- set withdrawable = {
    'reason_changed': {'given': "given <> 'another_reason'", 'lost': "given = 'another_reason' and given_before <> 'another_reason'"},
    'one_variation': {'given': "given = 'option'", 'lost': "given = 'control' and given_before = 'option'"},
} -%}
with sightings as (

    -- Overrides of single identities say nothing about the others.
    select
        sightings.experiment_key,
        sightings.identity,
        case
            when not sightings.is_within_experiment then 'another_reason'
            when sightings.percentage_allocation is not null then 'option'
            when sightings.is_evaluation and sightings.variation = 'control' then 'control'
            else 'off'
        end as given,
        sightings.received_at
    from {{ ref('int_experiment_sightings') }} as sightings
    inner join {{ ref('int_experiment_declarations') }} as experiments
        on sightings.experiment_key = experiments.experiment_key
    where
        sightings.assignment_reason <> 'identity_override' and experiments.assignment_reason <> 'identity_override'

),

in_order as (

    select
        *,
        lag(given) over (partition by experiment_key, identity order by received_at) as given_before
    from sightings

),

marks as (
    {% for stop_reason, of in withdrawable.items() %}
    -- Who is still given it, a minute at a time: few rows to put in order.
    select
        experiment_key,
        '{{ stop_reason }}' as stop_reason,
        cast(null as string) as identity,
        min(received_at) as first_at,
        max(received_at) as last_given_at
    from in_order
    where {{ of.given }}
    group by experiment_key, date_trunc('minute', received_at)

    union all

    select
        experiment_key,
        '{{ stop_reason }}' as stop_reason,
        identity,
        received_at as first_at,
        cast(null as timestamp) as last_given_at
    from in_order
    where {{ of.lost }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

between_given as (

    select
        *,
        max(last_given_at) over (
            partition by experiment_key, stop_reason order by first_at, identity is not null
            rows between unbounded preceding and current row
        ) as given_before_at,
        min(case when identity is null then first_at end) over (
            partition by experiment_key, stop_reason order by first_at, identity is not null
            rows between current row and unbounded following
        ) as given_again_at
    from marks

)

-- Twenty who come back without it, one after another, and nobody with it: if each had an even chance to keep it, that would
-- happen once in a million.
select
    experiment_key,
    stop_reason,
    min(first_at) as first_at,
    max(first_at) as last_at,
    given_again_at
from between_given
where identity is not null and given_before_at < first_at
group by experiment_key, stop_reason, given_before_at, given_again_at
having count(distinct identity) >= 20
