{{ config(materialized='table') }}

with declared as (
    {{ typed_rows('variants') }}
)

select
    feature_name,
    variation,

    variant_key
from declared
where {{ is_in_order('variants', 'declared') }}
