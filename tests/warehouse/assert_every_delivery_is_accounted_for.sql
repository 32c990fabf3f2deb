-- The account balances: every delivery that was landed is an evaluation, a change or quarantined, once.
-- (What retention has pruned is in no account; changes of flags are kept longer.) Returns the deliveries for which it does not hold.
with accounted as (

    select delivery_id, 'evaluation' as place from {{ ref('int_deliveries') }} where kind = 'evaluation'
    union all
    select delivery_id, 'change' as place from {{ ref('fct_flag_changes') }} as changes
    where received_at >= {{ flagsmith_warehouse.pruned_before('changes.environment') }}
    union all
    select delivery_id, 'quarantined' as place from {{ ref('quarantined_deliveries') }}

),

landed as (

    select distinct delivery_id from {{ flagsmith_warehouse.not_pruned(source('landing', 'webhooks')) }}

)

select
    coalesce(landed.delivery_id, accounted.delivery_id) as delivery_id,
    count(accounted.place) as places
from landed
full join accounted on landed.delivery_id = accounted.delivery_id
group by coalesce(landed.delivery_id, accounted.delivery_id)
having count(landed.delivery_id) <> 1 or count(accounted.place) <> 1
