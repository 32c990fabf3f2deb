{#- CTEs up to `successive_matches`: the ways to be a member (plan_matches) that each state fulfils, as bits, and those that the
    state before it fulfilled. -#}
{% macro steps_to_matches(plan) -%}
{%- set has_splits = plan.matches | rejectattr('split_by', 'none') | list -%}
matches as (

    -- Each state is tested once for all cohorts.
    select
        environment,
        identity,
        changed_at,
        is_only_state
        {%- if has_splits %},
        {{ flagsmith_warehouse.value_of_identity('key') }} as identity_key
        {%- endif %}
        {%- for column in range(plan.match_columns) %},
        cast(0 as bigint)
            {%- for match in plan.matches | selectattr('column', 'eq', column) %}
            -- {{ flagsmith_warehouse.comment_text(match.cohort_key ~ ': ' ~ match.words) }}
            + case when {{ flagsmith_warehouse.match_sql(match.tree, match.up_to) }} then {{ match.bit }} else 0 end
            {%- endfor %} as matches_{{ column }}
        {%- endfor %}
    from states

),

successive_matches as (

    -- The state before an identity's first one counts as a state without matches.
    select
        *
        {%- for column in range(plan.match_columns) %},
        cast(0 as bigint) as earlier_matches_{{ column }}
        {%- endfor %}
    from matches
    where is_only_state

    union all

    select
        *
        {%- for column in range(plan.match_columns) %},
        lag(matches_{{ column }}, 1, 0) over (partition by environment, identity order by changed_at) as earlier_matches_{{ column }}
        {%- endfor %}
    from matches
    where not is_only_state

),
{%- endmacro %}


{#- A node of a cohort's tree (plan_cohort) as a predicate on the bits of conditions, for identities whose hash is in the range
    that ends with up_to. -#}
{% macro match_sql(node, up_to) %}
    {%- if node.condition is defined -%}
        {{ return(bit_is_set('conditions_' ~ node.condition.column, node.condition.bit)) }}
    {%- elif node.split is defined -%}
        {{ return('true' if up_to <= node.split.last else 'false') }}
    {%- elif node.environment is defined -%}
        {{ return('environment = ' ~ text_literal(node.environment)) }}
    {%- elif node.constant is defined -%}
        {{ return('true' if node.constant else 'false') }}
    {%- elif not node.of -%}
        {{ return('true') }}
    {%- endif -%}
    {%- set predicates = flagsmith_warehouse.joined_bits(node) -%}
    {%- for child in node.of if child.condition is not defined -%}
        {%- do predicates.append(flagsmith_warehouse.match_sql(child, up_to)) -%}
    {%- endfor -%}
    {%- if predicates | length == 1 and node.join != 'none' -%}{{ return(predicates[0]) }}{%- endif -%}
    {{ return(('not ' if node.join == 'none' else '') ~ '(' ~ predicates | join(' and ' if node.join == 'all' else ' or ') ~ ')') }}
{% endmacro %}


{#- The conditions that a node joins, as one predicate per column of bits. Testing them together saves a quarter of the time. -#}
{% macro joined_bits(node) %}
    {%- set bits = {} -%}
    {%- for child in node.of if child.condition is defined -%}
        {%- do bits.setdefault(child.condition.column, []).append(child.condition.bit) -%}
    {%- endfor -%}
    {%- set predicates = [] -%}
    {%- for column, those in bits.items() -%}
        {%- set sum_of_bits = those | unique | join(' + ') -%}
        {%- set sum_of_bits = '(' ~ sum_of_bits ~ ')' if those | unique | list | length > 1 else sum_of_bits -%}
        {%- do predicates.append((bits_are_set if node.join == 'all' else bit_is_set)('conditions_' ~ column, sum_of_bits)) -%}
    {%- endfor -%}
    {{ return(predicates) }}
{% endmacro %}
