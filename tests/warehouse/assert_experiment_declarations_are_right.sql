-- Fails with every wrong declaration in words, so that what to mend stands on the screen and not in a table.
-- It waits for the results (depends_on: {{ ref('fct_experiment_power') }}), so that a slip in one row does not hold up the rest.
select message
from (
    select
        string_agg(
            'seeds/' || declared_in || '.csv: ' || coalesce(experiment_key || ' ', '') || coalesce(metric_key || ' ', '')
            || '- ' || problem || '.', chr(10)
        ) as message
    from {{ ref('experiment_declaration_problems') }}
) as problems
where message is not null and {{ fail_with('message') }} is not null
