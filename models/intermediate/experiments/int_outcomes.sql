{{ config(materialized='view') }}

{{ typed_outcomes() }}
