"""Fixtures: settings in a separate folder → application → client; and a real server in real processes."""

import json
from pathlib import Path

import pytest

from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.loader.receive.app import create_app
from tests.loader.server import Server

SECRETS = {"production": ["new secret", "old-Sëcret-☃"], "ümwelt": ["x"]}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment variables that a person would set: two environments with secrets, and one that needs none."""
    return {
        "FLAGSMITH_WEBHOOK_SECRETS": json.dumps(SECRETS),
        "FLAGSMITH_UNSIGNED_ENVIRONMENTS": '["development"]',
        "FLAGSMITH_WAREHOUSE_DIR": str(tmp_path / "data"),
        "FLAGSMITH_LOCK_TIMEOUT_SECONDS": "30",
    }


@pytest.fixture
def settings(environ):
    return settings_module.read(environ)


@pytest.fixture
def app(settings):
    return create_app(settings)


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def server(environ):
    """A running server; `server.restart()` and so on."""
    with Server(environ) as running:
        yield running
