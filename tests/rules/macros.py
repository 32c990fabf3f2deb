"""Calls the project's own macros, rendered by dbt itself, without a warehouse and without running a model."""

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import duckdb
from dbt.adapters.factory import get_adapter, register_adapter, reset_adapters
from dbt.config.runtime import RuntimeConfig, load_profile, load_project
from dbt.context.providers import generate_runtime_macro_context
from dbt.mp_context import get_mp_context

from tests.marts.warehouse import own_macros, parsed_project

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = {"production": {"key": "FZa9DMLzS6PPnYDHJJSrGT", "name": "Production"}}


def macro(name: str, warnings: list | None = None, **variables) -> Callable:
    """Return the project's macro of that name as a function.

    variables: what `--vars` would say. warnings: a list that is given what the macro warns of.
    """
    warnings = [] if warnings is None else warnings
    manifest = parsed_project()
    profile = load_profile(str(ROOT), variables)
    project = load_project(str(ROOT), True, profile, variables)
    arguments = Namespace(
        project_dir=str(ROOT),
        profiles_dir=str(ROOT),
        profile=None,
        target=None,
        vars=variables,
        threads=1,
        which="parse",
    )
    config = RuntimeConfig.from_parts(project, profile, arguments)
    config.load_dependencies()
    reset_adapters()
    register_adapter(config, get_mp_context())
    adapter = get_adapter(config)
    adapter.set_macro_resolver(manifest)
    adapter.set_macro_context_generator(generate_runtime_macro_context)
    found = manifest.find_macro_by_name(name, "flagsmith_warehouse", None)
    with own_macros():
        context = generate_runtime_macro_context(found, config, manifest, None)
    context["exceptions"] = {**context["exceptions"], "warn": warnings.append}
    return context["flagsmith_warehouse"][name]


def value_columns(value) -> dict:
    """A trait's value in the columns of fct_identity_traits, as the staging types what Flagsmith sends."""
    if value is None:
        return {"value_type": "null", "value_text": None, "value_number": None}
    if isinstance(value, bool):
        return {"value_type": "boolean", "value_text": str(value).lower(), "value_number": None}
    if isinstance(value, str):
        return {"value_type": "string", "value_text": value, "value_number": None}
    kind = "integer" if isinstance(value, int) else "float"
    number = float(value) if abs(value) < 10**308 else None
    return {"value_type": kind, "value_text": json.dumps(value), "value_number": number}


TRAITS = (
    "struct(environment varchar, identity varchar, trait_key varchar, is_transient boolean,"
    " value_type varchar, value_text varchar, value_number double, valid_from timestamp, valid_to timestamp)"
)
IDENTITIES = "struct(environment varchar, identity varchar, first_seen_at timestamp)"


def warehouse(identities: list[dict], traits: list[dict]) -> duckdb.DuckDBPyConnection:
    """An in-memory warehouse with the tables `identities` and `traits`, as in the marts that cohorts read."""
    connection = duckdb.connect()
    for name, rows, struct in (("identities", identities, IDENTITIES), ("traits", traits, TRAITS)):
        connection.execute(
            f"create table {name} as select unnest(cast($rows as {struct}[]), recursive := true)",
            {"rows": rows or None},
        )
    return connection
