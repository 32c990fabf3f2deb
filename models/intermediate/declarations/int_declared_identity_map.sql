{{ config(materialized='view') }}

with declared as (
    {{ declared_rows('identity_map') }}
)

select
    identity,

    user_id
from declared
where identity is not null and user_id is not null
qualify count(*) over (partition by identity) = 1
