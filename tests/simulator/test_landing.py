"""Deliveries that are appended straight to the landing look as if the loader had landed them."""

import hashlib
from datetime import datetime
from itertools import islice
from pathlib import Path
from uuid import UUID

import duckdb
import pytest

from flagsmith_warehouse.simulator import landing
from flagsmith_warehouse.simulator.parameters import Parameters
from flagsmith_warehouse.simulator.world import World

WORLD = World(Parameters(deliveries=600, identities=30, transient=0.1, volatile=0.2))


def landed(warehouse: Path) -> list[tuple]:
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        return connection.sql("select * from landing.webhooks order by delivery_id").fetchall()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> list[tuple]:
    warehouse = tmp_path_factory.mktemp("landing") / "warehouse.duckdb"
    assert landing.append(warehouse, WORLD.deliveries()) == len(list(WORLD.deliveries()))
    return landed(warehouse)


def test_append__a_world__holds_each_delivery_byte_for_byte(whole):
    bodies = sorted((row[2], row[1], row[7].encode()) for row in whole)
    assert bodies == sorted((one.received_at, one.environment, one.body) for one in WORLD.deliveries())
    assert all(row[4] == hashlib.sha256(row[7].encode()).hexdigest() for row in whole)
    assert all(row[3] > row[2] and row[5:7] == (True, "utf-8") for row in whole)


def test_append__delivery_ids__are_distinct_uuids_in_the_order_of_receipt(whole):
    identifiers = [UUID(row[0]) for row in whole]
    assert {(one.version, one.variant) for one in identifiers} == {(7, "specified in RFC 4122")}
    assert len(set(identifiers)) == len(whole)
    assert [row[2] for row in whole] == sorted(row[2] for row in whole)


def test_rows__two_deliveries_in_a_millisecond__have_ids_in_their_order():
    one = next(WORLD.evaluations())
    moments = [datetime(2026, 9, 1, microsecond=microsecond) for microsecond in range(200)]
    identifiers = [row[0] for row in landing.rows(one._replace(received_at=moment) for moment in moments)]
    assert identifiers == sorted(set(identifiers))


def test_append__in_batches__lands_the_same_but_for_landed_at(whole, tmp_path):
    stream, moments = WORLD.deliveries(), [datetime(2026, 10, day) for day in range(1, 30)]
    for landed_at in moments:
        landing.append(tmp_path / "warehouse.duckdb", islice(stream, 50), landed_at)
    batched = landed(tmp_path / "warehouse.duckdb")
    assert [row[:3] + row[4:] for row in batched] == [row[:3] + row[4:] for row in whole]
    assert {row[3] for row in batched} == set(moments[: -(-len(whole) // 50)])
