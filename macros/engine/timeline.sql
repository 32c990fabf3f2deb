{#- Select: everything known of one identity, oldest first: at, kind (flag, override, trait, segment, cohort, experiment, outcome), name, before,
    after, why, delivery_id (of the webhook that says who made the change, where there is one). It is the function
    `marts.timeline_of(of_environment, of_identity)`. Parameters called like columns would break the views that it reads.
    marts: {name: relation}, of those that are built. Empty where none of them says anything by itself. -#}
{% macro timeline(marts) %}
{%- set parts = [] -%}
{%- if 'fct_flag_assignments' in marts -%}
{%- set explained = 'fct_explained_assignments' in marts -%}
{%- do parts.append("
    select
        spells.valid_from as at,
        'flag' as kind,
        spells.feature_name as name,
        lag(spells.variation) over (partition by spells.feature_id order by spells.valid_from) as before,
        spells.variation as after,
        spells.change_reason as why,
        " ~ ('changes.change_delivery_id' if explained else 'null::varchar') ~ " as delivery_id
    from " ~ marts.fct_flag_assignments ~ " as spells" ~ ("
    left join " ~ marts.fct_explained_assignments ~ " as changes
        on
            changes.environment = spells.environment
            and changes.identity = spells.identity
            and changes.feature_id = spells.feature_id
            and changes.valid_from = spells.valid_from" if explained else "") ~ "
    where spells.environment = of_environment and spells.identity = of_identity") -%}
{%- endif -%}
{%- if 'fct_flag_changes' in marts -%}
{%- do parts.append("
    select changes.received_at, 'override', changes.feature_name, changes.old_value, changes.new_value,
        concat_ws(' by ', changes.event_type, changes.changed_by), changes.delivery_id
    from " ~ marts.fct_flag_changes ~ " as changes
    where changes.environment = of_environment and changes.identity = of_identity") -%}
{%- endif -%}
{%- for kind, mart, key, name, begins, ends, value, why in [
    ('trait', 'fct_identity_traits', 'trait_key', 'trait_key', 'valid_from', 'valid_to', 'spells.value_text', "'absent'"),
    ('segment', 'fct_segment_memberships', 'segment_id', 'segment_name', 'entered_at', 'left_at', "'member'", 'spells.left_reason'),
    ('cohort', 'fct_cohort_memberships', 'cohort_key', 'cohort_key', 'entered_at', 'left_at', "'member'", 'null::varchar'),
] if mart in marts -%}
{#- A spell that the next one follows at once ends with that one's beginning. -#}
{%- do parts.append("
    select begun.at, '" ~ kind ~ "', begun.name, case when begun.at = begun.ended_before then begun.value_before end, begun.value,
        null::varchar, null::varchar
    from (
        select spells." ~ begins ~ " as at, spells." ~ name ~ " as name, " ~ value ~ " as value,
            lag(spells." ~ ends ~ ") over earlier as ended_before, lag(" ~ value ~ ") over earlier as value_before
        from " ~ marts[mart] ~ " as spells
        where spells.environment = of_environment and spells.identity = of_identity
        window earlier as (partition by spells." ~ key ~ " order by spells." ~ begins ~ ")
    ) as begun

    union all

    select ended.at, '" ~ kind ~ "', ended.name, ended.value, null::varchar, ended.why, null::varchar
    from (
        select spells." ~ ends ~ " as at, spells." ~ name ~ " as name, " ~ value ~ " as value, " ~ why ~ " as why,
            lead(spells." ~ begins ~ ") over (partition by spells." ~ key ~ " order by spells." ~ begins ~ ") as begins_next
        from " ~ marts[mart] ~ " as spells
        where spells.environment = of_environment and spells.identity = of_identity
    ) as ended
    where ended.at is not null and ended.at is distinct from ended.begins_next") -%}
{%- endfor -%}
{%- if 'fct_experiment_assignments' in marts and 'dim_experiments' in marts -%}
{%- for at, before, after, why in [
    ('first_exposed_at', 'null::varchar', 'assigned.variation', "'first_exposed'"),
    ('activated_at', 'assigned.variation', 'assigned.variation', "'activated'"),
    ('contradicted_at', 'assigned.variation', 'assigned.other_variation', 'assigned.quarantine_reason'),
] -%}
{%- do parts.append("
    select assigned." ~ at ~ ", 'experiment', assigned.experiment_key, " ~ before ~ ", " ~ after ~ ", " ~ why ~ ", null::varchar
    from " ~ marts.fct_experiment_assignments ~ " as assigned
    inner join " ~ marts.dim_experiments ~ " as experiments on assigned.experiment_key = experiments.experiment_key
    where
        experiments.environment = of_environment
        and assigned.identity = of_identity
        and assigned." ~ at ~ " is not null") -%}
{%- endfor -%}
{%- endif -%}
{%- if 'fct_experiment_outcomes' in marts and 'dim_experiments' in marts -%}
{%- do parts.append("
    select outcomes.occurred_at, 'outcome', outcomes.metric_key, null::varchar, format('{:.15g}', outcomes.outcome_sum),
        'counts for ' || array_to_string(outcomes.counted_by, ', ')
            || coalesce('; in part for ' || array_to_string(outcomes.partly_counted_by, ', '), ''), null::varchar
    from (" ~ flagsmith_warehouse.outcomes_of_identity(marts) ~ ") as outcomes") -%}
{%- endif -%}
{%- if not parts -%}{{ return('') }}{%- endif -%}
{{ return(
    'select * from (' ~ parts | join('\n\n    union all\n') ~ '\n) as events ("at", kind, name, before, after, why, delivery_id)'
    ~ ' order by events.at, events.kind, events.name, events.why'
) }}
{% endmacro %}

{#- The marts that it is made of. -#}
{% macro marts_of_timeline() %}
    {{ return([
        'fct_flag_assignments', 'fct_explained_assignments', 'fct_flag_changes', 'fct_identity_traits', 'fct_segment_memberships',
        'fct_cohort_memberships', 'fct_experiment_assignments', 'fct_experiment_outcomes', 'dim_experiments',
    ]) }}
{% endmacro %}
