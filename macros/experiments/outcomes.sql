{#- How outcomes are counted day by day.

    No outcome counts that is dated after the environment's clock, its last webhook: one dated 2099 would otherwise be the
    last counted day for ever. It counts once the clock has passed it.
    Events carry no time of arrival, so days within `var('experiment_late_days')` of the last counted day are counted anew:
    an outcome may arrive so late, and be corrected or deleted within them. Counted anew from the beginning are an identity that was assigned, or whose first
    evaluation was found to be another one since (a webhook may be late), and a metric whose declaration, or whose
    experiment's, changed. Both get a new number then: to int_experiment_outcomes a number that is not known is new, and
    what has a number that is no longer given is deleted. So neither can be out of step with the other, even where one of
    the two models is run alone.

    Of older days nothing is read but what the identities of the new events had before: each event's row holds what the
    identity had until then, so that sums over identities (and of squares and products) are sums over rows, whatever
    becomes of an identity. An event's row is numbers alone, since there are millions: each column costs a fifth of a
    second for 10,000,000 events, also where it is empty. -#}

{#- What an event can be to a metric, and what that adds to the metric's number:
      outcome, denominator  it counts
      before                it came before the first evaluation, and the metric asks for that (before_days)
      before_start          the same, and even before the experiment began
      too_early, too_late   it does not count, as it came before the first evaluation or after the conversion window -#}
{% macro outcome_parts() %}
    {{ return({'outcome': 0, 'denominator': 1, 'before': 2, 'before_start': 3, 'too_early': 4, 'too_late': 5}) }}
{% endmacro %}

{#- Pre-hook of int_experiment_identities: the identities of which anything is not as it was, with their number where that
    is kept. -#}
{% macro find_changed_assignments() %}
    {%- if builds_on_itself() %}
    create or replace temporary table {{ changed() }} as
    select
        coalesce(known.experiment_key, assignments.experiment_key) as experiment_key,
        coalesce(known.identity, assignments.identity) as identity,
        case when known.first_exposed_at = assignments.first_exposed_at then known.identity_number end as kept_number
    from {{ this }} as known
    full outer join {{ ref('int_experiment_assignments') }} as assignments
        on known.experiment_key = assignments.experiment_key and known.identity = assignments.identity
    where
        known.first_exposed_at is distinct from assignments.first_exposed_at
        or known.variation is distinct from assignments.variation
        or known.is_quarantined is distinct from assignments.is_quarantined
        or known.activated_at is distinct from assignments.activated_at
    {%- endif %}
{% endmacro %}

{#- An expression: the greatest number that an identity was ever given and that may still stand anywhere. -#}
{% macro greatest_identity_number() -%}
    {%- set relations = [] -%}
    {%- if builds_on_itself() -%}{%- do relations.append(this) -%}{%- endif -%}
    {%- set outcomes = flagsmith_warehouse.built_model('int_experiment_outcomes') if execute else none -%}
    {%- if outcomes -%}{%- do relations.append(outcomes) -%}{%- endif -%}
    greatest(0{% for relation in relations %}, (select coalesce(max(identity_number), 0) from {{ relation }}){% endfor %})
{%- endmacro %}

{#- An expression: the number of the metric that a measure belongs to. -#}
{% macro metric_of(measure_number) -%}
    ({{ measure_number }} - {{ measure_number }} % 8)
{%- endmacro %}

{#- Pre-hook of int_experiment_outcomes, inside the model's transaction: takes out what is to be counted anew, and finds for
    each metric that was counted before from which day on that is. Whether an identity's number is no longer given is
    asked first: DuckDB answers that seven times as fast as it finds which. -#}
{% macro forget_changed_outcomes() %}
    {%- if builds_on_itself() -%}
    {%- set identities = ref('int_experiment_identities') -%}
    {%- if scalar(
        'select count(*) - (select count(*) from ' ~ this ~ ' as counted inner join ' ~ identities ~ ' as known'
        ~ ' on counted.identity_number = known.identity_number where counted.measure_number is not null)'
        ~ ' from ' ~ this ~ ' where measure_number is not null', 0
    ) | int > 0 -%}
    delete from {{ this }}
    where measure_number is not null and identity_number not in (select identity_number from {{ identities }});
    {%- endif %}
    delete from {{ this }}
    where measure_number in (
        select measure_number
        from (select distinct measure_number from {{ this }} where measure_number is not null) as counted
        where {{ metric_of('measure_number') }} not in (select metric_number from {{ ref('int_experiment_metrics') }})
    );
    create or replace temporary table {{ changed() }} as
    select
        metrics.metric_number,
        -- The clock goes back where the newest deliveries are erased.
        least(
            max(counted.last_day) over (partition by metrics.experiment_key), cast(experiments.last_received_at as date)
        ) - {{ var('experiment_late_days') }} as count_from
    from {{ ref('int_experiment_metrics') }} as metrics
    inner join {{ ref('int_experiments') }} as experiments on metrics.experiment_key = experiments.experiment_key
    inner join (
        select {{ metric_of('measure_number') }} as metric_number, max(day) as last_day
        from {{ this }}
        where measure_number is not null
        group by {{ metric_of('measure_number') }}
    ) as counted on metrics.metric_number = counted.metric_number;
    delete from {{ this }} as target
    using {{ changed() }} as changed
    where {{ metric_of('target.measure_number') }} = changed.metric_number and target.day >= changed.count_from;
    create or replace temporary table {{ recent_identities() }} as
    select identities.identity_number
    from {{ identities }} as identities
    left join (
        select metrics.experiment_key, max(changed.count_from) as count_from
        from {{ ref('int_experiment_metrics') }} as metrics
        inner join {{ changed() }} as changed on metrics.metric_number = changed.metric_number
        group by metrics.experiment_key
    ) as counted on identities.experiment_key = counted.experiment_key
    where
        identities.identity_number > (select coalesce(max(identity_number), 0) from {{ this }} where measure_number is null)
        or cast(identities.first_exposed_at as date) >= counted.count_from
    {%- endif -%}
{% endmacro %}

{#- Name of the temporary table of the identities of which also events before those days are to be counted: they are new, or
    were first evaluated since. -#}
{% macro recent_identities() %}
    {{ return('recent_for_' ~ this.identifier) }}
{% endmacro %}
