{{ config(materialized='view_in_place') }}

with comparisons as (

    -- The smallest p-value, two-sided, times the number of comparisons (Bonferroni).
    select
        experiment_key,
        2 * min(one_sided_p_value) * count(*) as p_value,
        count(*) as tests,
        min_by(metric_key, (one_sided_p_value, metric_key)) as most_different_metric
    from {{ ref('int_experiment_before_tests') }}
    group by experiment_key

)

select
    experiment_key,
    0 as epoch,
    'before_imbalance' as check_name,
    case when p_value < {{ check_threshold('before_imbalance') }} then 'different' else 'alike' end as finding,
    least(1e0, p_value) as value,
    {{ check_threshold('before_imbalance') }} as threshold,
    cast(null as bigint) as affected,
    tests as total,
    most_different_metric as detail
from comparisons
