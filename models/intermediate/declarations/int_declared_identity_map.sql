{{ config(materialized='view') }}

with declared as (
    {{ declared_rows('identity_map') }}
),

counted as (

    select
        identity,
        user_id,
        count(*) over (partition by identity) as times
    from declared
    where identity is not null and user_id is not null

)

select
    identity,

    user_id
from counted
where times = 1
