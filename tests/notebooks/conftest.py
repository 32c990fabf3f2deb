"""The example month in a warehouse of its own, with the cohorts that docs/recipes.md declares and the example's experiment."""

import json
import re
from pathlib import Path

import pytest
import yaml

from flagsmith_warehouse.simulator import example, landing
from flagsmith_warehouse.simulator.example import MONTH
from flagsmith_warehouse.simulator.world import World

from ..marts.warehouse import PROJECT, Warehouse

RECIPES = PROJECT / "docs" / "recipes.md"


def declared() -> str:
    """The cohorts of docs/recipes.md, as the vars of dbt."""
    cohorts = yaml.safe_load(re.search(r"```yaml\n(.*?)```", RECIPES.read_text(), re.S)[1])
    return json.dumps(cohorts | example.declared() | {"stale_flag_days": example.STALE_FLAG_DAYS})


@pytest.fixture(scope="session")
def month(tmp_path_factory) -> Path:
    """The directory with a warehouse of the example month, as `make demo` makes it; not to be written to."""
    warehouse = Warehouse(tmp_path_factory.mktemp("month"))
    landing.append(warehouse.path, World(MONTH).deliveries())
    warehouse.dbt("build", "--resource-type", "seed", "--resource-type", "model", "--vars", declared())
    return warehouse.directory
