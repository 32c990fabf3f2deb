{#- Select: one row per environment, cohort_key, identity and entered_at, a spell of membership, with left_at (null while
    it lasts). What a checker calls to evaluate rules on any data, and what fct_cohort_memberships is made of.
    cohorts: as cohorts() returns them. traits: relation with environment, identity, trait_key, valid_from, valid_to,
    value_type, value_text, value_number, is_transient. identities: relation with environment, identity, first_seen_at.
    One pass over the traits whatever the number of cohorts: 50 of 5 conditions, 1,000,000 identities with 10 traits. -#}
{% macro cohort_memberships(cohorts, traits, identities) %}
{%- set compiled = flagsmith_warehouse.compile_cohorts(cohorts) -%}
{%- set columns = compiled.columns -%}
{%- set sources = compiled.identity | map(attribute='source') | unique | list -%}
{#- Flagsmith's engine knows no transient traits, and null for none. -#}
{%- set is_set = "not is_transient and value_type <> 'null' and trait_key" -%}
{#- Of some traits only the presence is asked: their values, often everybody's own, are not looked at. -#}
{%- set present = {} -%}
{%- set valued = {} -%}
{%- for key, bits in compiled.traits.items() -%}
    {%- do (valued if bits | rejectattr('predicate', 'eq', 'true') | list else present).update({key: bits}) -%}
{%- endfor -%}
{%- set is_asked -%}
    {{ is_set }} in ({% for key in valued or [''] %}{{ text_literal(key) }}{{ ', ' if not loop.last }}{% endfor %})
{%- endset -%}
{%- set version_traits = [] -%}
{%- for key, bits in valued.items() if bits | selectattr('compares_versions') | list -%}
    {%- do version_traits.append(text_literal(key)) -%}
{%- endfor -%}
{%- set verdict_columns = [(compiled.verdicts | length + 61) // 62, 1] | max -%}
{%- set splits = compiled.verdicts | rejectattr('split_by', 'none') | list -%}
with trait_values as (

    -- Most values are many identities': conditions are put to each distinct one once.
    select
        trait_key,
        value_type,
        value_text as given_text,
        any_value(value_number) as given_number,
        {{ flagsmith_warehouse.engine_kind('value_type', 'value_text') }} as value_kind
    from {{ traits }}
    where {{ is_asked }}
    group by trait_key, value_type, value_text

),

readable_values as (

    -- Read as Flagsmith's engine reads them.
    select
        trait_key,
        value_type,
        given_text,
        {{ flagsmith_warehouse.engine_columns('value', 'given_text', 'given_number') }}
        {%- if version_traits %},
        {{ flagsmith_warehouse.version_columns(
            'value', "case when trait_key in (" ~ version_traits | join(', ') ~ ") then given_text else '' end") }}
        {%- endif %}
    from trait_values

),

splittable_values as (

    select
        *
        {%- for segment_id in compiled.traits.values() | sum(start=[]) | map(attribute='splits_by') | reject('none') | unique %},
        {{ flagsmith_warehouse.split_column(segment_id, 'value', 'value_text') }}
        {%- endfor %}
    from readable_values

),

conditions_of_values as (

    -- The conditions that a value satisfies, as bits: each trait has bits of its own.
    select
        trait_key,
        value_type,
        given_text
        {%- for column in range(columns) %},
        {{ flagsmith_warehouse.bits_of_traits(valued, column) }} as conditions_{{ column }}
        {%- endfor %}
    from splittable_values

),

conditions_of_traits as (

    select
        traits.environment,
        traits.identity,
        traits.valid_from,
        traits.valid_to
        {%- for column in range(columns) %},
        conditions_of_values.conditions_{{ column }}
        {%- endfor %}
    from (select * from {{ traits }} where {{ is_asked }}) as traits
    inner join conditions_of_values
        on
            traits.trait_key = conditions_of_values.trait_key
            and traits.value_type = conditions_of_values.value_type
            and traits.value_text = conditions_of_values.given_text

),

identity_texts as (

    select
        environment,
        identity,
        first_seen_at,
        {{ flagsmith_warehouse.identity_texts(compiled.identity) }}
    from {{ identities }}

),

identity_kinds as (

    select
        *
        {%- for source in sources %},
        {{ flagsmith_warehouse.engine_kind("'string'", 'given_' ~ source) }} as {{ source }}_kind
        {%- endfor %}
    from identity_texts

),

readable_identities as (

    select
        environment,
        identity,
        first_seen_at
        {%- for source in sources %},
        {{ flagsmith_warehouse.engine_columns(source, 'given_' ~ source, 'null') }}
        {%- if compiled.identity | selectattr('source', 'eq', source) | selectattr('compares_versions') | list %},
        {{ flagsmith_warehouse.version_columns(source, 'given_' ~ source) }}
        {%- endif %}
        {%- endfor %}
    from identity_kinds

),

splittable_identities as (

    select
        *
        {%- for source in sources %}
        {%- for segment_id in compiled.identity | selectattr('source', 'eq', source) | map(attribute='splits_by') | reject('none') | unique %},
        {{ flagsmith_warehouse.split_column(segment_id, source, source ~ '_text') }}
        {%- endfor %}
        {%- endfor %}
    from readable_identities

),

bits_of_traits as (

    -- An identity is there from its first sighting, traits or none.
    select
        environment,
        identity,
        first_seen_at as valid_from,
        cast(null as timestamp) as valid_to
        {%- for column in range(columns) %},
        {{ flagsmith_warehouse.bits_of_identity(compiled.identity, column) }} as conditions_{{ column }}
        {%- endfor %}
    from splittable_identities

    union all

    select
        environment,
        identity,
        valid_from,
        valid_to
        {%- for column in range(columns) %},
        conditions_{{ column }}
        {%- endfor %}
    from conditions_of_traits
    {%- if present %}

    union all

    select
        environment,
        identity,
        valid_from,
        valid_to
        {%- for column in range(columns) %},
        {{ flagsmith_warehouse.bits_of_traits(present, column) }} as conditions_{{ column }}
        {%- endfor %}
    from {{ traits }}
    where {{ is_set }} in ({% for key in present %}{{ text_literal(key) }}{{ ', ' if not loop.last }}{% endfor %})
    {%- endif %}

),

periods as (

    -- Most traits of an identity come and go together.
    select
        environment,
        identity,
        valid_from,
        valid_to
        {%- for column in range(columns) %},
        sum(conditions_{{ column }}) as conditions_{{ column }}
        {%- endfor %}
    from bits_of_traits
    group by environment, identity, valid_from, valid_to

),

counted_periods as (

    select
        *,
        count(*) over (partition by environment, identity) as period_count
    from periods

),

changes as (

    -- Bits come with a value and go with it.
    select
        environment,
        identity,
        valid_from as changed_at
        {%- for column in range(columns) %},
        conditions_{{ column }}
        {%- endfor %}
    from counted_periods
    where period_count > 1 or valid_to is not null

    union all

    select
        environment,
        identity,
        valid_to
        {%- for column in range(columns) %},
        -conditions_{{ column }}
        {%- endfor %}
    from counted_periods
    where valid_to is not null

),

moments as (

    select
        environment,
        identity,
        changed_at
        {%- for column in range(columns) %},
        sum(conditions_{{ column }}) as conditions_{{ column }}
        {%- endfor %}
    from changes
    group by environment, identity, changed_at

),

states as (

    -- Most identities never change, and are put in no order.
    select
        environment,
        identity,
        valid_from as changed_at,
        true as is_only_one
        {%- for column in range(columns) %},
        cast(conditions_{{ column }} as bigint) as conditions_{{ column }}
        {%- endfor %}
    from counted_periods
    where period_count = 1 and valid_to is null

    union all

    -- No two traits share a bit, so the sum of what came and went is what holds.
    select
        environment,
        identity,
        changed_at,
        false as is_only_one
        {%- for column in range(columns) %},
        cast(sum(conditions_{{ column }}) over identity_so_far as bigint) as conditions_{{ column }}
        {%- endfor %}
    from moments
    {%- if columns %}
    window identity_so_far as (
        partition by environment, identity order by changed_at rows between unbounded preceding and current row
    )
    {%- endif %}

),

verdicts as (

    -- The cohorts that hold in each state, as bits again.
    select
        environment,
        identity,
        changed_at,
        is_only_one
        {%- if splits %},
        {{ flagsmith_warehouse.identity_key(splits[0]) }} as key_text
        {%- endif %}
        {%- for column in range(verdict_columns) %},
        cast(0 as bigint)
        {%- for verdict in compiled.verdicts[62 * column:62 * column + 62] %}
        + case when {{ verdict.predicate }} then {{ 2 ** loop.index0 }} else 0 end
        {%- endfor %} as cohorts_{{ column }}
        {%- endfor %}
    from states

),

only_verdicts as (

    select
        *
        {%- for column in range(verdict_columns) %},
        0 as cohorts_before_{{ column }}
        {%- endfor %}
    from verdicts
    where is_only_one

),

later_verdicts as (

    select
        *
        {%- for column in range(verdict_columns) %},
        lag(cohorts_{{ column }}, 1, 0) over (partition by environment, identity order by changed_at) as cohorts_before_{{ column }}
        {%- endfor %}
    from verdicts
    where not is_only_one

),

cohort_bits as (

    -- A cohort with a split is one cohort for those inside and another for the others.
    {% for verdict in compiled.verdicts or [{}] -%}
    select
        {{ text_literal(verdict.cohort or '') }} as cohort_key,
        {{ loop.index0 // 62 }} as verdict_column,
        cast({{ 2 ** (loop.index0 % 62) }} as bigint) as bit
        {%- if splits %},
        {{ 'null' if verdict.split_by is none else text_literal(verdict.split_by | string) }} as split_by,
        {{ verdict.above }} as above,
        {{ verdict.up_to }} as up_to
        {%- endif %}
    {{ 'where 1 = 0' if not compiled.verdicts }}
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

only_turns as (

    {{ flagsmith_warehouse.turns('only_verdicts', verdict_columns, splits) }}

),

later_turns as (

    {{ flagsmith_warehouse.turns('later_verdicts', verdict_columns, splits) }}

),

later_spells as (

    select
        environment,
        cohort_key,
        identity,
        is_member,
        changed_at as entered_at,
        lead(changed_at) over (partition by environment, cohort_key, identity order by changed_at) as left_at
    from later_turns

)

select
    environment,
    cohort_key,
    identity,
    changed_at as entered_at,
    cast(null as timestamp) as left_at
from only_turns

union all

select
    environment,
    cohort_key,
    identity,
    entered_at,
    left_at
from later_spells
where is_member
{% endmacro %}


{#- Who enters or leaves which cohort. Joined with the cohorts' bits: a select for each cohort took twice as long. The hash
    of a split is asked last, of those for whom it decides. -#}
{% macro turns(verdicts, verdict_columns, splits) %}
    {%- set entered -%}
    {%- for column in range(verdict_columns) %}
    {%- set now = bit_is_set(verdicts ~ '.cohorts_' ~ column, 'cohort_bits.bit') %}
    {%- set before = bit_is_set(verdicts ~ '.cohorts_before_' ~ column, 'cohort_bits.bit') %}
    select
        {{ verdicts }}.environment,
        cohort_bits.cohort_key,
        {{ verdicts }}.identity,
        {{ verdicts }}.changed_at,
        {{ now }} as is_member
        {%- if splits %},
        cohort_bits.split_by,
        cohort_bits.above,
        cohort_bits.up_to,
        cohort_bits.split_by || ',' || {{ verdicts }}.key_text as hashed_text
        {%- endif %}
    from {{ verdicts }}
    inner join cohort_bits on {{ now }} <> {{ before }} and cohort_bits.verdict_column = {{ column }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
    {%- endset -%}
    {%- if not splits -%}
        {{ return(entered) }}
    {%- endif -%}
    select
        environment,
        cohort_key,
        identity,
        changed_at,
        is_member
    from (
        select
            *,
            {{ md5_modulo('hashed_text', 9999) }} as split_hash
        from ({{ entered }}) as entered
    ) as hashed
    where
        split_by is null
        or coalesce({{ flagsmith_warehouse.split_number('split_hash', 'hashed_text') }}, 9999) between above + 1 and up_to
{% endmacro %}


{#- The type of a value as Flagsmith's engine reads it: text that looks like a whole or decimal number is one. What
    looks like one begins with a digit or a minus, which is quickly seen. -#}
{% macro engine_kind(type, text) -%}
    case
        when {{ type }} not in ('string', 'json') then {{ type }}
        when {{ text }} is null then null
        when {{ text }} >= ':' or {{ text }} < '-' then 'string'
        when {{ regex_matches(text, '^-?[0-9]+$') }} then 'integer'
        when {{ regex_matches(text, '^-?[0-9]+[.][0-9]+$') }} then 'float'
        else 'string'
    end
{%- endmacro %}


{#- The columns that conditions ask of a value (condition_predicate), from `<value>_kind`, its text and its number where
    that is known. Python's str writes True, 7 (not 007) and 1.5 (not 1.50), and a text as it is. -#}
{% macro engine_columns(value, text, number) -%}
    {%- set kind = value ~ '_kind' -%}
    {%- set as_double = 'coalesce(' ~ number ~ ', ' ~ double_of(text) ~ ')' -%}
    {{ kind }},
        case when {{ kind }} = 'string' then {{ text }} end as {{ value }}_string,
        case when {{ kind }} in ('integer', 'float') then {{ as_double }} end as {{ value }}_number,
        case when {{ kind }} = 'float' then {{ as_double }} end as {{ value }}_float,
        case when {{ kind }} = 'boolean' then case when {{ text }} = 'true' then 1 else 0 end end as {{ value }}_boolean,
        case
            when {{ kind }} = 'string' then {{ text }}
            when {{ kind }} = 'boolean' then case when {{ text }} = 'true' then 'True' else 'False' end
            when {{ kind }} = 'float' then {{ text_of_double(as_double) }}
            when {{ text }} like '0_%' or {{ text }} like '-0%' then {{ integer_text(text) }}
            else {{ text }}
        end as {{ value }}_text
{%- endmacro %}


{#- The bits of one column that a trait's value sets. The branch for '' is there for a column without any trait. -#}
{% macro bits_of_traits(traits, column) -%}
    case trait_key
        {%- for key, bits in traits.items() if bits | selectattr('column', 'eq', column) | list %}
        when {{ text_literal(key) }} then
            {{ flagsmith_warehouse.sum_of_bits(bits | selectattr('column', 'eq', column)) }}
        {%- endfor %}
        when '' then 0
        else 0
    end
{%- endmacro %}


{#- The bits of one column that the identity itself sets. -#}
{% macro bits_of_identity(bits, column) -%}
    {{ flagsmith_warehouse.sum_of_bits(bits | selectattr('column', 'eq', column)) or 'cast(0 as bigint)' }}
{%- endmacro %}


{#- The sum of the bits whose predicates hold. -#}
{% macro sum_of_bits(bits) -%}
    {%- for bit in bits -%}
    case when {{ bit.source ~ '_kind is not null and ' if bit.source != 'trait' }}({{ bit.predicate }}) then {{ bit.value }} else 0 end
    {{- ' + ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}


{#- The texts that conditions on the identity itself ask for: its identifier, its key in Flagsmith
    (`<environment key>_<identifier>`), its environment's name and key. -#}
{% macro identity_texts(bits) -%}
    identity as given_identifier
    {%- for bit in bits | selectattr('source', 'ne', 'identifier') | unique(attribute='source') %},
    {% if bit.source == 'key' -%}
    {{ flagsmith_warehouse.identity_key(bit) }} as given_key
    {%- else -%}
    {{ flagsmith_warehouse.flagsmith_environment(bit.source.split('_')[1], bit.cohort, bit.where) }} as given_{{ bit.source }}
    {%- endif %}
    {%- endfor %}
{%- endmacro %}


{#- The identity's key in Flagsmith; null in an environment without a declared one. asked: {cohort, where}, who needs it. -#}
{% macro identity_key(asked) -%}
    {{ flagsmith_warehouse.flagsmith_environment('key', asked.cohort, asked.where) }} || '_' || identity
{%- endmacro %}
