{{ config(materialized='view_in_place') }}

{{ typed_outcomes() }}
