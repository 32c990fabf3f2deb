"""The compiler as a function, and the warehouses and captured requests of the marts' tests."""

import pytest

from tests.marts.conftest import captured, warehouse  # noqa: F401  # fixtures
from tests.rules.macros import ENVIRONMENTS, macro


@pytest.fixture(scope="session")
def cohort_memberships():
    return macro("cohort_memberships", flagsmith_environments=ENVIRONMENTS)
