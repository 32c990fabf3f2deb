{{ config(materialized='view_in_place') }}

with comparisons as (

    -- The smallest p-value, two-sided, times the number of comparisons (Bonferroni).
    select
        tests.experiment_key,
        2 * min(tests.one_sided_p_value) * count(*) as p_value,
        count(*) as tests,
        min_by(metrics.metric_name, (tests.one_sided_p_value, tests.metric_key)) as most_different_metric
    from {{ ref('int_experiment_before_tests') }} as tests
    inner join {{ ref('int_experiment_metrics') }} as metrics
        on tests.experiment_key = metrics.experiment_key and tests.metric_key = metrics.metric_key
    group by tests.experiment_key

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
