{{ config(materialized='table_in_place') }}

with totals as (

    select
        experiment_key,
        sum(identities) as identities,
        sum(quarantined) as quarantined,
        sum(activated) as activated,
        count(*) as variations
    from {{ ref('int_experiment_variation_counts') }}
    group by experiment_key

),

chi_squares as (

    select
        experiment_key,
        epoch,
        'sample_ratio' as check_name,
        sum(observed) as identities,
        sum(pow(observed - expected, 2) / nullif(expected, 0)) as statistic,
        count(*) - 1 as degrees_of_freedom
    from {{ ref('int_experiment_sample_ratios') }}
    group by experiment_key, epoch
    {%- for check_name, part in [('quarantined_balance', 'quarantined'), ('activated_balance', 'activated')] %}

    union all

    select
        counts.experiment_key,
        0 as epoch,
        '{{ check_name }}' as check_name,
        max(totals.identities) as identities,
        sum(
            pow(counts.{{ part }} - counts.identities * totals.{{ part }} / totals.identities, 2)
            / nullif(counts.identities * totals.{{ part }} / totals.identities
                * (1 - totals.{{ part }} / totals.identities), 0)
        ) as statistic,
        max(totals.variations) - 1 as degrees_of_freedom
    from {{ ref('int_experiment_variation_counts') }} as counts
    inner join totals on counts.experiment_key = totals.experiment_key
    group by counts.experiment_key
    {%- endfor %}

),

{{ chi_square_survival('chi_squares', 'statistic', 'degrees_of_freedom', 'p_value', 'tested') }}

select
    experiment_key,
    epoch,
    check_name,

    identities,
    statistic,
    degrees_of_freedom,
    case
        when degrees_of_freedom < 1 then 'one_variation'
        when identities < {{ check_threshold('sample_ratio', 'minimum_identities') }} then 'too_few'
        when statistic is null then 'nothing_to_test'
    end as obstacle,
    p_value
from tested
