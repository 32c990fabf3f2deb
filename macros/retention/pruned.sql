{#- What retention has pruned: `pruned` in the schema of the landing, one row per environment that was ever pruned.
      pruned_before  midnight, UTC. The landing has no delivery received before it, and models read none. Rows of models
                     from that time cannot be computed again.
      held_in        the models with rows from that time. They refuse to be built anew. -#}
{% macro pruned() %}
    {{ return(api.Relation.create(
        database=target.get('database'),
        schema=var('landing_schema', 'landing'),
        identifier='pruned'
    )) }}
{% endmacro %}

{#- What the table `pruned` says. Queried once per model, and kept in `model` as in `progress`:
      is_pruned    whether anything was ever pruned
      held_before  the current model has rows from before this time that are no longer in the landing (a text); none if it
                   has no such rows -#}
{% macro retention() %}
    {%- if not is_built_now() -%}
        {{ return({'is_pruned': false, 'held_before': none}) }}
    {%- endif -%}
    {%- if 'retention' in model -%}{{ return(model['retention']) }}{%- endif -%}
    {%- set row = run_query(
        'select count(*), cast(max(pruned_before) filter (where ' ~ list_holds('held_in', text_literal(model.name))
        ~ ') as string) from ' ~ pruned()
    ).rows[0] -%}
    {%- do model.update({'retention': {'is_pruned': row[0] > 0, 'held_before': row[1]}}) -%}
    {{ return(model['retention']) }}
{% endmacro %}

{#- True if anything was ever pruned. If not, the SQL of models is the same as without retention. -#}
{% macro is_pruned() %}
    {{ return(flagsmith_warehouse.retention().is_pruned) }}
{% endmacro %}

{#- The time up to which an environment was pruned; the beginning of time if it never was. -#}
{% macro pruned_before(environment) -%}
    {%- if flagsmith_warehouse.is_pruned() -%}
    coalesce(
        (select max(pruned.pruned_before) from {{ pruned() }} as pruned where pruned.environment = {{ environment }}),
        timestamp '0001-01-01'
    )
    {%- else -%}
    timestamp '0001-01-01'
    {%- endif -%}
{%- endmacro %}

{#- The landing without deliveries that arrive so late that retention would delete them at once. -#}
{% macro not_pruned(landing) -%}
    {%- if flagsmith_warehouse.is_pruned() -%}
    (select * from {{ landing }} as landing where landing.received_at >= {{ pruned_before('landing.environment') }}) as landing
    {%- else -%}
    {{ landing }}
    {%- endif -%}
{%- endmacro %}

{#- True if the current model must not be built in full although something it depends on has changed: it has rows that can no
    longer be computed from the landing. Its deliveries must still have the numbers by which it knows them. -#}
{% macro keeps_pruned_history() %}
    {{ return(
        var('pruned_history', 'keep') == 'keep'
        and flagsmith_warehouse.retention().held_before is not none
        and progress().is_same_numbering
    ) }}
{% endmacro %}

{#- For the progress of the current model: its rows from before this time (a text) were made by an earlier logic. None if there are none,
    and if the model is built in full. -#}
{% macro kept_before() -%}
    {%- set before = none -%}
    {%- if is_increment() -%}
        {%- set before = progress().kept_before if progress().is_same else flagsmith_warehouse.retention().held_before -%}
    {%- endif -%}
    {{ return(before) }}
{%- endmacro %}

{#- Stops a full build that would lose rows whose deliveries are no longer in the landing. `is_increment` calls it before
    every full build. -#}
{% macro refuse_to_forget() %}
    {%- if not is_built_now() or var('pruned_history', 'keep') == 'forget' -%}{{ return('') }}{%- endif -%}
    {%- set held = flagsmith_warehouse.retention().held_before -%}
    {%- if not held -%}{{ return('') }}{%- endif -%}
    {%- if flags.FULL_REFRESH -%}
        {%- set why = 'a full refresh was asked for' -%}
    {%- elif not load_relation(this) -%}
        {%- set why = 'its table is gone' -%}
    {%- elif not progress().is_same_numbering -%}
        {%- set why = 'which deliveries it has taken in is not known any more (intermediate.build_progress, '
            ~ 'stg_flagsmith__deliveries or deliveries of the landing are gone)' -%}
    {%- else -%}
        {%- set why = 'its logic, or a var or a seed that it depends on, has changed' -%}
    {%- endif -%}
    {{ exceptions.raise_compiler_error(
        this.identifier ~ ' holds what retention has pruned from the landing (before ' ~ held[:10] ~ '), and would lose it by '
        ~ 'being made anew: ' ~ why ~ '. Nothing was changed. Undo that, or restore a backup; or, with '
        ~ '`vars: pruned_history: forget`, have everything made from what is left. See docs/privacy.md.'
    ) }}
{% endmacro %}
