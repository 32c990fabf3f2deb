"""Warehouses for tests of the marts, and the captured requests as rows of the landing."""

import hashlib
import json
from datetime import datetime
from pathlib import Path

import pytest

from .reference import Landed
from .warehouse import Warehouse

CAPTURED = Path(__file__).parents[1] / "fixtures" / "captured"


@pytest.fixture
def warehouse(tmp_path):
    return Warehouse(tmp_path)


@pytest.fixture(scope="session")
def captured() -> list[Landed]:
    """The requests captured from a real Flagsmith, as landed."""
    rows = []
    for number, line in enumerate((CAPTURED / "flagsmith_2_265_0.ndjson").read_text().splitlines()):
        request = json.loads(line)
        received_at = datetime.fromisoformat(request["received_at"]).replace(tzinfo=None)
        rows.append(landed(request["body"], received_at, f"{number:06d}"))
    return rows


def landed(body: str, received_at: datetime, delivery_id: str, environment: str = "production") -> Landed:
    """A row of the landing as the loader writes it, landed when it was received."""
    payload_hash = hashlib.sha256(body.encode()).hexdigest()
    return Landed(delivery_id, environment, received_at, received_at, payload_hash, True, "utf-8", body)
