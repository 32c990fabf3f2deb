{{ config(materialized=kept_unless_checked()) }}

with experiments as (

    select * from {{ ref('int_declared_experiments') }} where problem is null

),

flags as (

    select distinct environment, feature_id, feature_name, variation
    from {{ ref('int_flag_states') }}

),

features as (

    -- The feature under experiment, whatever it is called by now. Until it is evaluated: those that have the declared name.
    select experiment_key, feature_id
    from {{ ref('int_experiment_features') }}
    where is_under_experiment

    union

    select experiments.experiment_key, flags.feature_id
    from experiments
    inner join flags on experiments.environment = flags.environment and experiments.feature_name = flags.feature_name
    where experiments.experiment_key not in (select experiment_key from {{ ref('int_experiment_features') }})

),

variations as (

    -- Whatever the feature ever carried, also before the experiment and under another name.
    select distinct experiments.experiment_key, flags.variation
    from experiments
    inner join features on experiments.experiment_key = features.experiment_key
    inner join flags on experiments.environment = flags.environment and features.feature_id = flags.feature_id

),

assigned as (

    select distinct experiment_key from {{ ref('int_experiment_assignments') }}

),

weight_parts as (

    select experiment_key, feature_name, expected_weights, {{ text_parts('expected_weights', ';') }} as part
    from experiments
    where expected_weights <> 'auto'

),

named_weights as (

    select *, {{ regex_group('part', '(?s)^(.*)=[^=]*$', 1) }} as variation
    from weight_parts

),

unseen_variations as (

    -- Before anybody is assigned a name may be of a variation that is still to come.
    select
        case when assigned.experiment_key is null then 'warning' else 'problem' end as severity,
        named_weights.experiment_key,
        'expected_weights' as column_name,
        named_weights.expected_weights as cell,
        'no delivery carried the variation `' || named_weights.variation || '` of ' || named_weights.feature_name as problem,
        coalesce('write `' || min(alike.variation) || '`', 'write its name as in fct_flag_exposures') as remedy
    from named_weights
    left join variations
        on
            named_weights.experiment_key = variations.experiment_key
            and named_weights.variation = variations.variation
    left join variations as alike
        on
            named_weights.experiment_key = alike.experiment_key
            and lower(named_weights.variation) = lower(alike.variation)
    left join assigned on named_weights.experiment_key = assigned.experiment_key
    where variations.variation is null
    group by
        assigned.experiment_key, named_weights.experiment_key, named_weights.expected_weights, named_weights.variation,
        named_weights.feature_name

),

unseen_controls as (

    select
        'warning' as severity,
        experiments.experiment_key,
        'control_variation' as column_name,
        experiments.control_variation as cell,
        'no delivery carried this variation of ' || experiments.feature_name as problem,
        'write it as in fct_flag_exposures' as remedy
    from experiments
    where
        experiments.experiment_key in (select experiment_key from variations)
        and not exists (
            select 1 from variations
            where experiments.experiment_key = variations.experiment_key and experiments.control_variation = variations.variation
        )

),

unseen_places as (

    select
        'warning' as severity,
        experiments.experiment_key,
        case when environments.environment is null then 'environment' else 'feature_name' end as column_name,
        case when environments.environment is null then experiments.environment else experiments.feature_name end as cell,
        case
            when environments.environment is null then 'nothing was ever received from this environment'
            else 'no delivery from ' || experiments.environment || ' carried this feature'
        end as problem,
        case
            when environments.environment is null then 'write it as in the webhook''s URL'
            else 'write it as in Flagsmith, unless it is still to come'
        end as remedy
    from experiments
    left join {{ ref('int_environments') }} as environments on experiments.environment = environments.environment
    where not exists (select 1 from features where experiments.experiment_key = features.experiment_key)

),

dimensions as (

    {{ breakdown_dimensions('experiments') }}

),

known_dimensions as (

    select distinct 'trait' as kind, trait_key as name from {{ ref('int_trait_set_elements') }}
    union
    select distinct 'segment' as kind, segment_name as name from {{ ref('int_segment_set_elements') }}
    {%- for cohort in cohorts() %}
    union
    select 'cohort' as kind, {{ text_literal(cohort.key) }} as name
    {%- endfor %}

),

unseen_dimensions as (

    select
        'warning' as severity,
        dimensions.experiment_key,
        'breakdowns' as column_name,
        experiments.breakdowns as cell,
        case
            when dimensions.kind = 'cohort' then 'no cohort `' || dimensions.name || '` is declared'
            else 'no delivery carried the ' || dimensions.kind || ' `' || dimensions.name || '`'
        end as problem,
        coalesce('write `' || min(alike.name) || '`', 'write its name as in the marts of traits, segments and cohorts') as remedy
    from dimensions
    inner join experiments on dimensions.experiment_key = experiments.experiment_key
    left join known_dimensions as known on dimensions.kind = known.kind and dimensions.name = known.name
    left join known_dimensions as alike on dimensions.kind = alike.kind and lower(dimensions.name) = lower(alike.name)
    where known.name is null
    group by dimensions.experiment_key, experiments.breakdowns, dimensions.kind, dimensions.name

),

unseen as (
    {% for relation in ['unseen_variations', 'unseen_controls', 'unseen_places', 'unseen_dimensions'] %}
    select severity, experiment_key, column_name, cell, problem, remedy from {{ relation }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select
    unseen.severity,
    {{ text_literal(declared_in('experiments')) }} as declared_in,
    experiments.row_number,
    unseen.column_name,

    unseen.experiment_key,
    cast(null as string) as metric_key,
    unseen.cell,
    unseen.problem,
    unseen.remedy
from unseen
inner join experiments on unseen.experiment_key = experiments.experiment_key
