{#- Table functions for whoever opens the warehouse with any client, beside the marts they read:
    from marts.traits_as_of(timestamp '2026-05-03'), marts.segments_as_of(…), marts.flags_as_of(…): one row per
    environment, identity and trait, segment (of which it was a member) or flag at that moment, UTC;
    marts.timeline_of('production', 'ann'): everything known of one identity, oldest first (macros/engine/timeline.sql);
    marts.outcomes_of('production', 'ann'): what it did that counts for an experiment (macros/engine/outcomes_of_identity.sql). -#}
{% macro create_as_of_functions() %}{{ return(adapter.dispatch('create_as_of_functions', 'flagsmith_warehouse')()) }}{% endmacro %}

{% macro default__create_as_of_functions() %}{{ return('') }}{% endmacro %}

{% macro duckdb__create_as_of_functions() %}
    {%- if execute -%}
    {%- set built = {} -%}
    {%- for mart in marts_of_timeline() -%}
        {%- set relation = flagsmith_warehouse.built_model(mart) -%}
        {%- if relation -%}{%- do built.update({mart: relation}) -%}{%- endif -%}
    {%- endfor -%}
    {%- set timeline = flagsmith_warehouse.timeline(built) -%}
    {%- if 'fct_experiment_outcomes' in built and 'dim_experiments' in built %}
    create or replace macro {{ built.fct_experiment_outcomes.without_identifier() }}.outcomes_of(of_environment, of_identity) as table
        {{ flagsmith_warehouse.outcomes_of_identity(built) }};
    {%- endif %}
    {%- if timeline %}
    create or replace macro {{ (built.values() | first).without_identifier() }}.timeline_of(of_environment, of_identity) as table
        {{ timeline }};
    {%- endif %}
    {%- for function, mart, begins, ends in [
        ('traits_as_of', 'fct_identity_traits', 'valid_from', 'valid_to'),
        ('segments_as_of', 'fct_segment_memberships', 'entered_at', 'left_at'),
        ('flags_as_of', 'fct_flag_assignments', 'valid_from', 'valid_to'),
    ] %}
    {%- set node = graph.nodes.get('model.flagsmith_warehouse.' ~ mart) %}
    {%- set relation = adapter.get_relation(database=node.database, schema=node.schema, identifier=node.alias) if node %}
    {%- if relation %}
    create or replace macro {{ relation.without_identifier() }}.{{ function }}(moment) as table
        select * from {{ relation }}
        where {{ begins }} <= moment and ({{ ends }} > moment or {{ ends }} is null);
    {%- endif %}
    {%- endfor %}
    {%- endif -%}
{% endmacro %}

{#- Operation: creates them in a warehouse whose marts another engine has built. -#}
{% macro run_as_of_functions() %}
    {%- call statement('functions', auto_begin=True) -%}{{ flagsmith_warehouse.create_as_of_functions() }}{%- endcall -%}
    {%- do adapter.commit() -%}
{% endmacro %}
