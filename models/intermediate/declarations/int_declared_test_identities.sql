{{ config(materialized='table_in_place') }}

with declared as (
    {{ typed_rows('test_identities') }}
)

select distinct
    environment,
    identity
from declared
where {{ is_in_order('test_identities', 'declared') }}
