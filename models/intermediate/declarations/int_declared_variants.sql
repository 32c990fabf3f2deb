{{ config(materialized='table_in_place') }}

with declared as (
    {{ typed_rows('variants') }}
)

select
    feature_name,
    -- In a CSV file an empty text looks like an empty cell, and an option's value may be an empty text.
    coalesce(variation, '') as variation,

    variant_key
from declared
where {{ is_in_order('variants', 'declared') }}
