{{ config(materialized='view_in_place') }}

with states as (

    select * from {{ ref('int_flag_states') }}

),

initial_values as (

    -- Options with the feature's initial value, which is the control's.
    select distinct
        environment,
        feature_id,
        value
    from states
    where is_multivariate and percentage_allocation is not null and value = default_value

)

-- Where the value cannot tell which option it was: it is falsy, so that Flagsmith sends no percentage with it; or it has an
-- option's percentage and is the control's value too. (That two options share a value does not show.)
select distinct
    states.environment,
    states.feature_id,
    states.variation
from states
left join initial_values
    on
        states.environment = initial_values.environment
        and states.feature_id = initial_values.feature_id
        and states.value = initial_values.value
where
    states.is_multivariate
    and states.enabled
    and (
        (
            (
                (states.value_type = 'string' and states.value = '')
                or (states.value_type = 'integer' and states.value = '0')
                or (states.value_type = 'boolean' and states.value = 'false')
            )
            and states.percentage_allocation is null
            and states.variation <> 'control'
        )
        or (initial_values.value is not null and states.percentage_allocation is not null)
    )
