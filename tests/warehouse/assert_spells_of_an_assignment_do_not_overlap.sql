-- At any moment an identity has at most one state of a flag. Returns the spells that are empty or begin before the one
-- before has ended.
with spells as (

    select
        environment,
        identity,
        feature_id,
        valid_from,
        valid_to,
        lag(coalesce(valid_to, timestamp '9999-12-31')) over (
            partition by environment, identity, feature_id
            order by valid_from
        ) as previous_to
    from {{ ref('fct_flag_assignments') }}

)

select
    environment,
    identity,
    feature_id,
    valid_from
from spells
where valid_to <= valid_from or previous_to > valid_from
