{{ config(materialized=kept_unless_checked()) }}

with unseen_experiments as (

    -- Experiments in whose dates the last build found no feature of the declared name.
    select
        experiments.experiment_key,
        experiments.row_number,
        experiments.environment,
        experiments.feature_name,
        experiments.started_at,
        experiments.ended_at,
        environments.last_received_at
    from {{ ref('int_declared_experiments') }} as experiments
    inner join {{ ref('int_environments') }} as environments on experiments.environment = environments.environment
    where
        experiments.problem is null
        -- An experiment that is planned has nothing to warn of. No figure depends on the wall clock, only this warning.
        and experiments.started_at <= {{ utc_now() }}
        and not exists (
            select 1
            from {{ ref('int_experiment_declarations') }} as built
            inner join {{ ref('int_experiment_features') }} as features on built.experiment_key = features.experiment_key
            where
                experiments.experiment_key = built.experiment_key
                and experiments.environment = built.environment
                and experiments.feature_name = built.feature_name
                and experiments.started_at = built.started_at
                and experiments.ended_at is not distinct from built.ended_at
        )

),

sets as (

    select flags_hash, feature_name
    from {{ ref('int_flag_set_elements') }}
    where feature_name in (select feature_name from unseen_experiments)

),

times as (

    -- When the feature was carried. Without such an experiment no delivery is read.
    select
        unseen_experiments.experiment_key,
        max(deliveries.received_at) filter (where deliveries.received_at < unseen_experiments.started_at) as last_before,
        min(deliveries.received_at) filter (where deliveries.received_at >= unseen_experiments.ended_at) as first_after,
        count(*) filter (
            where
            deliveries.received_at >= unseen_experiments.started_at
            and (deliveries.received_at < unseen_experiments.ended_at or unseen_experiments.ended_at is null)
        ) as evaluations
    from unseen_experiments
    inner join {{ ref('int_deliveries') }} as deliveries on unseen_experiments.environment = deliveries.environment
    inner join sets on deliveries.flags_hash = sets.flags_hash and unseen_experiments.feature_name = sets.feature_name
    where deliveries.kind = 'evaluation' and not deliveries.is_test_identity
    group by unseen_experiments.experiment_key

),

seen_experiments as (

    -- The others, until their effective end: what comes after it does not matter to them.
    select
        declared.experiment_key,
        declared.row_number,
        declared.environment,
        declared.feature_name,
        declared.started_at,
        declared.ended_at,
        experiments.ended_at as effective_end,
        features.feature_id
    from {{ ref('int_declared_experiments') }} as declared
    inner join {{ ref('int_experiments') }} as experiments
        on
            declared.experiment_key = experiments.experiment_key
            and declared.environment = experiments.environment
            and declared.started_at = experiments.started_at
    inner join {{ ref('int_experiment_features') }} as features
        on declared.experiment_key = features.experiment_key and features.is_under_experiment
    where
        declared.problem is null
        and not exists (select 1 from unseen_experiments where declared.experiment_key = unseen_experiments.experiment_key)

),

traffic as (

    -- When the environment was heard of in these dates, and when with the feature.
    select
        seen_experiments.experiment_key,
        min(deliveries.received_at) as first_at,
        max(deliveries.received_at) as last_at,
        min(deliveries.received_at) filter (where elements.feature_id is not null) as feature_first_at,
        max(deliveries.received_at) filter (where elements.feature_id is not null) as feature_last_at
    from seen_experiments
    inner join {{ ref('int_deliveries') }} as deliveries
        on
            seen_experiments.environment = deliveries.environment
            and seen_experiments.started_at <= deliveries.received_at
            and (seen_experiments.effective_end > deliveries.received_at or seen_experiments.effective_end is null)
    left join {{ ref('int_flag_set_elements') }} as elements
        on deliveries.flags_hash = elements.flags_hash and seen_experiments.feature_id = elements.feature_id
    where deliveries.kind = 'evaluation' and not deliveries.is_test_identity
    group by seen_experiments.experiment_key

),

gaps as (

    -- At least two days without the feature while others were heard of. A shorter gap may be a quiet night.
    select
        experiment_key,
        'started_at' as column_name,
        first_at as heard_at,
        feature_first_at as carried_at
    from traffic
    where feature_first_at >= {{ plus_hours('first_at', 48) }}

    union all

    select
        experiment_key,
        'ended_at' as column_name,
        last_at as heard_at,
        feature_last_at as carried_at
    from traffic
    where last_at >= {{ plus_hours('feature_last_at', 48) }}

)

select
    'warning' as severity,
    {{ text_literal(declared_in('experiments')) }} as declared_in,
    experiments.row_number,
    gaps.column_name,

    experiments.experiment_key,
    cast(null as string) as metric_key,
    {{ minute_text("case when gaps.column_name = 'started_at' then experiments.started_at else experiments.ended_at end") }} as cell,
    case
        when gaps.column_name = 'started_at'
            then experiments.environment || ' sent webhooks from ' || {{ minute_text('gaps.heard_at') }} || ' on, but none carried '
                || experiments.feature_name || ' before ' || {{ minute_text('gaps.carried_at') }} || ' (UTC)'
        else experiments.environment || ' sent webhooks until ' || {{ minute_text('gaps.heard_at') }} || ', but none carried '
            || experiments.feature_name || ' after ' || {{ minute_text('gaps.carried_at') }} || ' (UTC)'
    end as problem,
    case
        when gaps.column_name = 'started_at' then 'write when the experiment began, or find out why the flag was not evaluated'
        else 'write when the experiment ended, or find out why the flag is not evaluated any more'
    end as remedy
from gaps
inner join seen_experiments as experiments on gaps.experiment_key = experiments.experiment_key

union all

select
    'warning' as severity,
    {{ text_literal(declared_in('experiments')) }} as declared_in,
    experiments.row_number,
    case when times.last_before is null then 'ended_at' else 'started_at' end as column_name,

    experiments.experiment_key,
    cast(null as string) as metric_key,
    {{ minute_text('case when times.last_before is null then experiments.ended_at else experiments.started_at end') }} as cell,
    case
        when experiments.last_received_at < experiments.started_at
            then 'nothing was received from ' || experiments.environment || ' since then: its last webhook came at '
                || {{ minute_text('experiments.last_received_at') }} || ' UTC'
        else 'no delivery from ' || experiments.environment || ' carried ' || experiments.feature_name || ' in these dates, only'
            || coalesce(' until ' || {{ minute_text('times.last_before') }}, '')
            || case when times.last_before is not null and times.first_after is not null then ' and' else '' end
            || coalesce(' from ' || {{ minute_text('times.first_after') }} || ' on', '') || ' (UTC)'
    end as problem,
    case
        when experiments.last_received_at < experiments.started_at then 'correct it, or find out why nothing arrives'
        else 'correct started_at and ended_at'
            {%- if var('retention_days', none) %} || '; what retention has deleted cannot be read any more'{% endif %}
    end as remedy
from times
inner join unseen_experiments as experiments on times.experiment_key = experiments.experiment_key
where times.evaluations = 0
