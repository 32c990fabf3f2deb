{#- Stops a run before anything is built if a var has a value that no model can use. The message names the var and says what
    to write. `flagsmith-warehouse refresh` and `check` also refuse vars that no model knows. A macro cannot do that, because
    dbt does not tell it which vars were set. -#}
{% macro refuse_unusable_vars() %}
    {%- if not is_built_now() -%}{{ return('') }}{%- endif -%}
    {%- for name, rule in var_rules().items() -%}
        {%- set value = var(name, none) -%}
        {%- set text = value | string | trim -%}
        {%- set number = text | float(none) if value is not boolean else none -%}
        {%- if rule.kind == 'number' -%}
            {%- set is_right = number is not none and number > rule.above and number < rule.below
                and (not rule.is_whole or number == number | int) -%}
        {%- elif rule.kind == 'boolean' -%}{%- set is_right = value is boolean -%}
        {%- elif rule.kind == 'mapping' -%}{%- set is_right = value is mapping -%}
        {%- else -%}{%- set is_right = text in rule.choices -%}
        {%- endif -%}
        {%- if value is not none and not is_right -%}
            {{ exceptions.raise_compiler_error(
                'vars: ' ~ name ~ ' is ' ~ text ~ '. Nothing was built. Write ' ~ rule.write ~ '.'
            ) }}
        {%- endif -%}
    {%- endfor -%}
{% endmacro %}

{#- The values allowed for each var that is neither a list nor a relation: {name: {kind, …, write: what to write}}. A var may
    also have no value. -#}
{% macro var_rules() %}
    {%- set days = {'kind': 'number', 'above': 0, 'below': 1000000, 'is_whole': true, 'write': 'a number of days, 1 or more, like 90'} -%}
    {%- set above_0 = {'kind': 'number', 'above': 0, 'below': 1e300, 'is_whole': false, 'write': 'a number above 0'} -%}
    {%- set share = {'kind': 'number', 'above': 0, 'below': 1, 'is_whole': false, 'write': 'a share between 0 and 1, like 0.01'} -%}
    {%- set boolean = {'kind': 'boolean', 'write': 'true or false, without quotation marks'} -%}
    {{ return({
        'retention_days': days,
        'retention_dry_run': boolean,
        'stale_flag_days': days,
        'experiment_target_lift': dict(above_0, above=-1e300, write='a relative lift, like 0.05'),
        'silence_alert_deliveries': above_0,
        'landing_delay_alert_seconds': above_0,
        'canary_seconds': above_0,
        'quarantine_alert_share': share,
        'transient_traits_in_dim_identities': boolean,
        'flagsmith_events_of_standard_flags': boolean,
        'flagsmith_environments': {'kind': 'mapping', 'write': '{production: {key: <client-side key>, name: Production}}'},
        'pruned_history': {'kind': 'choice', 'choices': ['keep', 'refuse', 'forget'], 'write': 'keep, refuse or forget'},
    }) }}
{% endmacro %}
