-- One row per plan: an example of a mart of your own, which joins our marts with your tables. Change it or delete it.
with plans as (

    select environment, identity, value_text as plan
    from {{ ref('flagsmith_warehouse', 'fct_identity_traits') }}
    where trait_key = 'plan' and is_current

),

outcomes as (

    -- Your table; here, the outcomes of experiments.
    select identity, count(*) as outcomes
    from {{ ref('flagsmith_warehouse', 'int_outcomes') }}
    group by identity

)

select
    plans.environment,
    plans.plan,

    count(*) as identities,
    cast(coalesce(sum(outcomes.outcomes), 0) as bigint) as outcomes
from plans
left join outcomes on plans.identity = outcomes.identity
group by plans.environment, plans.plan
