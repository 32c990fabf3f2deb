{#- What retention did at the end of the last run: `last_pruning` in the schema of the landing. It has one row per environment, or
    a single row without an environment that says `why` nothing was pruned.
      deliveries   how many were deleted, or would be in a dry run
      kept         how many are older than `retention_days`, and stay because of the experiment `held_by`
    `flagsmith-warehouse refresh` says it in words. -#}
{% macro last_pruning() %}
    {{ return(api.Relation.create(
        database=target.get('database'),
        schema=var('landing_schema', 'landing'),
        identifier='last_pruning'
    )) }}
{% endmacro %}

{#- Statement: nothing was pruned, and why. -#}
{% macro nothing_pruned(days, why) %}
    create or replace table {{ last_pruning() }} as
    select
        {{ days | int }} as retention_days, false as is_dry_run, {{ text_literal(why) }} as why,
        cast(null as string) as environment, cast(null as timestamp) as pruned_before, 0 as deliveries,
        cast(null as timestamp) as wanted_before, 0 as kept, cast(null as string) as held_by, cast(null as timestamp) as held_from
{% endmacro %}

{#- Statement: records what this plan will delete, before it is deleted. -#}
{% macro account_for_pruning(landing, plan, days) %}
    create or replace table {{ last_pruning() }} as
    select
        {{ days | int }} as retention_days,
        {{ 'true' if var('retention_dry_run', false) else 'false' }} as is_dry_run,
        cast(null as string) as why,
        plan.environment,
        plan.pruned_before,
        count(*) filter (where landing.received_at < plan.pruned_before) as deliveries,
        plan.wanted_before,
        count(*) filter (where landing.received_at >= plan.pruned_before) as kept,
        plan.held_by,
        plan.held_from
    from ({{ plan }}) as plan
    left join {{ landing }} as landing
        on plan.environment = landing.environment
        and landing.received_at < plan.wanted_before
        and plan.oldest_received_at < plan.wanted_before
    group by all
{% endmacro %}
