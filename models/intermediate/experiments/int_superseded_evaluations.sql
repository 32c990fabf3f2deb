{{ config(materialized='table_in_place') }}

with crowded as (

    -- Microseconds with more than one evaluation: few, so that only these need sorting below.
    select received_at
    from {{ ref('int_deliveries') }}
    where kind = 'evaluation' and not is_test_identity
    group by received_at
    having count(*) > 1

),

ranked as (

    select
        delivery_id,
        row_number() over (partition by environment, identity, received_at order by delivery_id desc) as place
    from {{ ref('int_deliveries') }}
    where
        kind = 'evaluation'
        and not is_test_identity
        and received_at in (select received_at from crowded)

)

select delivery_id
from ranked
where place > 1
