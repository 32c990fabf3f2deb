{#- Point in time. Joins each row of `moments` (a relation with environment, identity and `at`, a timestamp in UTC) with the
    spells of `spells` (fct_identity_traits, fct_segment_memberships, fct_flag_assignments, …) that held at that moment.
    Spells are half-open, so at most one per key held.
    Yields a select of all columns of `moments` (as m) and of `spells` but environment and identity.
    begins, ends: the spell's columns for its beginning and end. -#}
{% macro as_of(moments, spells, at='at', begins='valid_from', ends='valid_to') %}
select
    m.*,
    {{ columns_but('s', ['environment', 'identity']) }}
from {{ moments }} as m
inner join {{ spells }} as s
    on
        m.environment = s.environment
        and m.identity = s.identity
        and m.{{ at }} >= s.{{ begins }}
        and (m.{{ at }} < s.{{ ends }} or s.{{ ends }} is null)
{% endmacro %}
