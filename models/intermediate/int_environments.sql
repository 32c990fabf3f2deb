{{ config(
    pre_hook="{{ find_changed_periods('hour') }}",
    meta={
        'built_from': ['int_deliveries'],
        'replaces': 'target.environment = changed.environment',
    },
) }}

-- The environment's clock is the time of its newest delivery, whatever its kind: quarantined deliveries and those of test
-- identities move it too. Nothing else says that time has passed. It is kept, since retention may have pruned all
-- deliveries of an environment that has fallen silent.
with clocks as (

    select
        environment,
        max(received_at) as last_received_at
    from {{ ref('int_deliveries') }}
    where {{ is_to_be_taken_in() }}
    group by environment
    {%- if builds_on_itself() %}

    union all

    select
        environment,
        last_received_at
    from {{ this }}
    where environment in (select environment from {{ changed() }})
    {%- endif %}

)

select
    environment,
    max(last_received_at) as last_received_at
from clocks
group by environment
