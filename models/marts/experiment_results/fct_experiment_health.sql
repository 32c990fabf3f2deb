{{ config(materialized='table_in_place') }}

select
    experiment_key,
    epoch,
    check_name,

    status,
    value,
    threshold,
    message,
    spoils_results
from {{ ref('int_experiment_checks') }}
