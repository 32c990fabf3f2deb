{{ config(materialized='view_in_place') }}

with days as (

    select
        cast(min(hour) as date) as first_day,
        cast(max(hour) as date) as last_day
    from {{ ref('fct_deliveries_hourly') }}

)

select {{ each_day('first_day', 'last_day') }} as date_day
from days
where first_day is not null
