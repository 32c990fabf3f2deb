{{ config(materialized='table_in_place') }}

with running as (

    select * from {{ ref('int_experiments') }}
    where status = 'running'

),

pairs as (

    select
        mine.environment,
        mine.experiment_key,
        others.experiment_key as other_experiment_key,
        mine.alpha
    from running as mine
    inner join running as others on mine.environment = others.environment and mine.experiment_key <> others.experiment_key

),

table_cells as (

    -- The tables of assignments, one for each epoch of both experiments: whatever the weights, they are constant there.
    select
        experiment_key, other_experiment_key, epoch, other_epoch, variation, other_variation,
        count(*) as identities
    from {{ ref('int_experiment_shared_identities') }}
    group by experiment_key, other_experiment_key, epoch, other_epoch, variation, other_variation

),

expected_cells as (

    select
        *,
        cast(sum(identities) over variations as double) * sum(identities) over other_variations
        / sum(identities) over epochs as expected,
        cast(sum(identities) over variations as double) as variation_identities,
        sum(identities) over other_variations as other_variation_identities,
        sum(identities) over epochs as identities_of_epoch
    from table_cells
    window
        epochs as (partition by experiment_key, other_experiment_key, epoch, other_epoch),
        variations as (partition by experiment_key, other_experiment_key, epoch, other_epoch, variation),
        other_variations as (partition by experiment_key, other_experiment_key, epoch, other_epoch, other_variation)

),

chi_squares as (

    -- With fewer than 5 expected in a cell the statistic is not distributed as χ², so that table is left out. Cells without
    -- identities have no row. What they should have had is what the others should not.
    select
        experiment_key,
        other_experiment_key,
        sum(pow(identities - expected, 2) / expected) + case
            when count(*) = count(distinct variation) * count(distinct other_variation) then 0e0
            else max(identities_of_epoch) - sum(expected)
        end as statistic,
        (count(distinct variation) - 1) * (count(distinct other_variation) - 1) as degrees_of_freedom
    from expected_cells
    group by experiment_key, other_experiment_key, epoch, other_epoch
    having min(variation_identities) * min(other_variation_identities) / max(identities_of_epoch) >= 5

),

summed_chi_squares as (

    select experiment_key, other_experiment_key, sum(statistic) as statistic, sum(degrees_of_freedom) as degrees_of_freedom
    from chi_squares
    group by experiment_key, other_experiment_key

),

{{ chi_square_survival('summed_chi_squares', 'statistic', 'degrees_of_freedom', 'p_value_independence', 'independence') }},

arms as (

    -- Every variation but control is the treatment, so that one figure answers for experiments of any number of variations.
    select
        experiment_key,
        other_experiment_key,
        epoch,
        other_epoch,
        is_treated = is_other_treated as is_added,
        count(*) as identities,
        avg(outcome) as mean,
        var_pop(outcome) * count(*) as squares
    from {{ ref('int_experiment_shared_identities') }}
    where is_matured
    group by experiment_key, other_experiment_key, epoch, other_epoch, is_treated, is_other_treated

),

differences as (

    -- The effect with the other treatment less the effect without it. Left out: epochs that lack one of the four arms.
    select
        experiment_key,
        other_experiment_key,
        sum(identities) as identities,
        sum(case when is_added then mean else -mean end) as difference,
        sum(1e0 / identities) as inverse_identities,
        sum(squares) as squares
    from arms
    group by experiment_key, other_experiment_key, epoch, other_epoch
    having count(*) = 4

),

weighted_differences as (

    select
        *,
        cast(identities as double) / sum(identities) over (partition by experiment_key, other_experiment_key) as weight
    from differences

),

interactions as (

    -- Ordinary least squares of the outcome on epoch, both treatments and their products.
    select
        pairs.experiment_key,
        pairs.other_experiment_key,
        pairs.alpha / 2 as half_alpha,
        sum(weighted.weight * weighted.difference) as interaction,
        sum(weighted.identities) - 4 * count(*) as degrees_of_freedom,
        sqrt(
            sum(weighted.squares) / nullif(sum(weighted.identities) - 4 * count(*), 0)
            * sum(pow(weighted.weight, 2) * weighted.inverse_identities)
        ) as standard_error
    from weighted_differences as weighted
    inner join pairs
        on
            weighted.experiment_key = pairs.experiment_key
            and weighted.other_experiment_key = pairs.other_experiment_key
    group by pairs.experiment_key, pairs.other_experiment_key, pairs.alpha

),

standardised as (

    select *, -abs(interaction / nullif(standard_error, 0)) as minus_statistic
    from interactions

),

{{ student_t_cdf('standardised', 'minus_statistic', 'degrees_of_freedom', 'one_sided_p_value', 'with_p_value') }},

{{ student_t_quantile('with_p_value', 'half_alpha', 'degrees_of_freedom', 'minus_critical', 'tested') }},

sizes as (

    select
        experiment_key, other_experiment_key, metric_key,
        count(*) as identities, count_if(is_matured) as identities_matured,
        least(count(distinct variation), count(distinct other_variation)) as variations
    from {{ ref('int_experiment_shared_identities') }}
    group by experiment_key, other_experiment_key, metric_key

)

select
    pairs.environment,
    pairs.experiment_key,
    pairs.other_experiment_key,

    sizes.metric_key,
    case
        when sizes.identities is null then 'no_shared_identities'
        when sizes.metric_key is null then 'no_primary_metric'
        when sizes.identities_matured = 0 then 'none_matured'
        when tested.experiment_key is null then 'arm_missing'
        when tested.degrees_of_freedom = 0 then 'too_few_identities'
        when tested.standard_error = 0 then 'zero_variance'
        else 'ok'
    end as status,

    coalesce(sizes.identities, 0) as identities,
    cast(coalesce(sizes.identities_matured, 0) as bigint) as identities_matured,
    case
        when sizes.identities is null then 'no_shared_identities'
        when sizes.variations = 1 then 'one_variation'
        when independence.p_value_independence is null then 'too_few_identities'
        else 'ok'
    end as independence_status,
    independence.p_value_independence,
    tested.interaction,
    tested.interaction + tested.minus_critical * nullif(tested.standard_error, 0) as interaction_low,
    tested.interaction - tested.minus_critical * nullif(tested.standard_error, 0) as interaction_high,
    2 * tested.one_sided_p_value as p_value_interaction
from pairs
left join sizes
    on pairs.experiment_key = sizes.experiment_key and pairs.other_experiment_key = sizes.other_experiment_key
left join independence
    on pairs.experiment_key = independence.experiment_key and pairs.other_experiment_key = independence.other_experiment_key
left join tested
    on pairs.experiment_key = tested.experiment_key and pairs.other_experiment_key = tested.other_experiment_key
