-- At any moment an identity has at most one state of a flag. Returns the spells that are empty or begin before the one
-- before has ended.
select
    environment,
    identity,
    feature_id,
    valid_from
from {{ ref('fct_flag_assignments') }}
qualify
    valid_to <= valid_from
    or coalesce(
        lag(coalesce(valid_to, timestamp '9999-12-31')) over (
            partition by environment, identity, feature_id
            order by valid_from
        ) > valid_from,
        false
    )
